# SPDX-License-Identifier: Apache-2.0
"""The arm comes to rest, however fast it is when it is left alone."""

import numpy as np
import pytest

from vla_sim.tabletop import Tabletop


@pytest.mark.parametrize("joint", range(7))
def test_a_joint_that_is_pushed_does_not_swing_for_ever(joint: int) -> None:
    """At its force limit a drive may be in step with the time step: it then swings at one speed of its own."""
    tabletop = Tabletop(0)
    for speed_rad_s in np.arange(0.02, 0.4, 0.004):
        tabletop.reset(0)
        tabletop._data.qvel[tabletop.scene.arm_qvel[joint]] = speed_rad_s
        tabletop.step(0.5)
        assert abs(tabletop.arm_state().velocities_rad_s[joint]) < 1e-2, f"pushed at {speed_rad_s:.3f} rad/s"
