# SPDX-License-Identifier: Apache-2.0
"""``python -m vla_policy_node.doctor``."""

import sys

from vla_policy_node.doctor.command import main

sys.exit(main())
