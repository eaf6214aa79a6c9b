# shellcheck shell=bash
# Source this file: it puts ROS 2 and the suite's Python on the path, in both worlds.
#
#   source scripts/env.bash
#   colcon build --base-paths src
#   source scripts/env.bash        # again, now with install/
#   colcon test --base-paths src
#
# With ROS 2 Jazzy from apt (/opt/ros/jazzy) that one is used, otherwise the ROS wheels in .venv.

VLA_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VLA_APT_ROS=/opt/ros/jazzy/setup.bash

if [ ! -f "$VLA_ROOT/.venv/bin/activate" ]; then
    echo "scripts/env.bash: $VLA_ROOT/.venv is missing. Run 'make setup' first." >&2
    return 1 2>/dev/null || exit 1
fi
[ -f "$VLA_APT_ROS" ] && source "$VLA_APT_ROS"
source "$VLA_ROOT/.venv/bin/activate"
[ -f "$VLA_ROOT/install/setup.bash" ] && source "$VLA_ROOT/install/setup.bash"
if [ ! -f "$VLA_APT_ROS" ]; then
    # The wheels lie in the virtual environment; install/setup.bash knows nothing of it.
    case ":${AMENT_PREFIX_PATH:-}:" in
        *":$VIRTUAL_ENV:"*) ;;
        *) export AMENT_PREFIX_PATH="${AMENT_PREFIX_PATH:+$AMENT_PREFIX_PATH:}$VIRTUAL_ENV" ;;
    esac
    case ":${CMAKE_PREFIX_PATH:-}:" in
        *":$VIRTUAL_ENV:"*) ;;
        *) export CMAKE_PREFIX_PATH="${CMAKE_PREFIX_PATH:+$CMAKE_PREFIX_PATH:}$VIRTUAL_ENV" ;;
    esac
fi
# Fast DDS drops pictures that do not fit into its default shared memory: 640x480 is already too large.
export FASTRTPS_DEFAULT_PROFILES_FILE="${FASTRTPS_DEFAULT_PROFILES_FILE:-$VLA_ROOT/config/fastdds.xml}"
# Nothing here ever needs a model hub, and nothing leaves this machine.
export HF_HUB_OFFLINE=1
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
