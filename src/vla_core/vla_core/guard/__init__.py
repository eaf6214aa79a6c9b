# SPDX-License-Identifier: Apache-2.0
"""Between a policy and an arm: ``guard`` decides, ``safe_motion`` proves that the arm can always stop."""

from vla_core.guard.guard import STAGES, Guard, Trip

__all__ = ["STAGES", "Guard", "Trip"]
