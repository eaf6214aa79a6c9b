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
# What only computes shares the cores, a thread each. Tests of timing, the rest, share them with nobody.
computing=(vla_core vla_training)
OMP_NUM_THREADS=1 colcon --log-base log test --base-paths src --packages-select "${computing[@]}" \
    --executor parallel --parallel-workers 2 --return-code-on-test-failure \
    --event-handlers console_direct- console_cohesion+ || status=1
colcon --log-base log test --base-paths src --packages-skip "${computing[@]}" \
    --executor sequential --return-code-on-test-failure \
    --event-handlers console_direct+ console_cohesion- || status=1
python -m pytest tests --junit-xml=build/tests/pytest.xml || status=1
python scripts/count_tests.py build || status=1
exit $status
