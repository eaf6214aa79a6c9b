#!/usr/bin/env bash
# Run a command with ROS 2 and the suite on the path.
set -e
cd /suite
# shellcheck source=scripts/env.bash
source scripts/env.bash
exec "$@"
