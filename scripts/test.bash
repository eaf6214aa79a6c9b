#!/usr/bin/env bash
# Run the tests of every package through colcon, then those across packages, and print the sum of both.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
set +u
# shellcheck source=scripts/env.bash
source scripts/env.bash
set -u

status=0
find build -name 'pytest.xml' -delete 2>/dev/null
run_colcon() {
    colcon --log-base log test --base-paths src --return-code-on-test-failure \
        --event-handlers console_direct+ console_cohesion- "$@" || status=1
}
# What keeps no time runs side by side, a core each; tests of timing share the cores with nobody.
keeps_no_time=(vla_core vla_msgs vla_training)
OMP_NUM_THREADS=1 LP_NUM_THREADS=1 COLCON_FEATURE_FLAGS=drop_test_deps \
    run_colcon --packages-select "${keeps_no_time[@]}"
run_colcon --packages-skip "${keeps_no_time[@]}" --executor sequential
python -m pytest tests --junit-xml=build/tests/pytest.xml || status=1
python scripts/count_tests.py build || status=1
exit $status
