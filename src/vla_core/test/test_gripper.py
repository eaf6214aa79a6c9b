# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_core.actions.gripper import (
    calvin_from_open,
    command_from_open,
    open_from_calvin,
    open_from_joint,
    open_from_logit,
)


def test_calvin_says_minus_one_for_closed_and_plus_one_for_open() -> None:
    np.testing.assert_array_equal(open_from_calvin([-1, 1]), [0, 1])
    np.testing.assert_array_equal(calvin_from_open([0, 1]), [-1, 1])


@given(st.sampled_from([-1.0, 1.0]))
def test_calvin_values_survive_the_round_trip(value: float) -> None:
    assert calvin_from_open(open_from_calvin(value)) == value


@given(st.floats(1e-9, 1e6) | st.floats(-1e6, -1e-9))
def test_a_positive_logit_means_open(logit: float) -> None:
    assert bool(open_from_logit(logit) > 0.5) == (logit > 0)


@pytest.mark.parametrize(("closed", "opened"), [(0.0, 0.04), (0.8, 0.0), (-1.0, 1.0)])
@given(gripper_open=st.floats(0.0, 1.0))
def test_joint_and_command_know_either_polarity(closed: float, opened: float, gripper_open: float) -> None:
    value = command_from_open(gripper_open, closed=closed, opened=opened)
    assert open_from_joint(value, closed=closed, opened=opened) == pytest.approx(gripper_open, abs=1e-9)
