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
# One package after the other: tests of timing share two cores with nobody.
colcon --log-base log test --base-paths src --executor sequential --return-code-on-test-failure \
    --event-handlers console_direct+ console_cohesion- || status=1
python -m pytest tests --junit-xml=build/tests/pytest.xml || status=1
python scripts/count_tests.py build || status=1
exit $status
