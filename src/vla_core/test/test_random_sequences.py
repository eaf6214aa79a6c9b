# SPDX-License-Identifier: Apache-2.0
"""Whatever a policy says and however streams fail: many random sequences, and no command leaves the limits.

A sequence is an action of any kind (also none, NaN, infinite, huge, oscillating, to the wall) and some commands.
It begins where the one before has left the arm. ``VLA_RANDOM_SEQUENCES`` says how many; ``make nightly`` asks for
more.
"""

import dataclasses
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from motion_record import MotionRecord
from sim_arm import sim_arm

from vla_core.actions.action_space import ActionSpace
from vla_core.controller import ActionController
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import KeepOutBox, LimitsSpec, RobotSpec

NUM_SEQUENCES = int(os.environ.get("VLA_RANDOM_SEQUENCES", "100000"))
BLOCK = 250
TICK_NS = 20_000_000
HOME = Pose.from_euler([0.45, 0.0, 0.3], [np.pi, 0.0, 0.0])
POST = KeepOutBox(name="post", min_m=(0.52, -0.1, 0.0), max_m=(0.56, 0.1, 0.6))
STRENGTHS = ((10.0, 4000.0), (3.0, 100.0), (1.0, 20.0))


def spec_of(rng: np.random.Generator) -> RobotSpec:
    acceleration, jerk = STRENGTHS[rng.integers(len(STRENGTHS))]
    spec = sim_arm()
    limits = dataclasses.replace(
        spec.limits,
        max_acceleration_m_s2=acceleration,
        max_acceleration_rad_s2=3.0 * acceleration,
        max_jerk_m_s3=jerk,
        max_jerk_rad_s3=3.0 * jerk,
        keep_out=(POST,),
        reactions={"step": "hold"} if rng.random() < 0.2 else {},
    )
    command = dataclasses.replace(spec.command, reference="measured" if rng.random() < 0.3 else "target")
    return dataclasses.replace(spec, limits=limits, command=command)


def any_action(rng: np.random.Generator) -> FloatArray:
    """Return an action of any kind."""
    kind = rng.integers(7)
    action = rng.uniform(-1.0, 1.0, 7)
    if kind == 0:
        action[rng.integers(7)] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == 1:
        action *= 10.0 ** rng.uniform(0.0, 300.0)
    elif kind == 2:
        action[:6] = np.sign(action[:6])
    elif kind == 3:
        action[:6] *= 1e-9
    elif kind == 4:
        action[:6] = [1.0, 0, 0, 0, 0, 0] if rng.random() < 0.7 else [0, 0, -1.0, 0, 0, 0]
    return action


def measured_by(rng: np.random.Generator, made: ActionController) -> Pose:
    """Return what a good, a lagging or a blocked arm measures."""
    if rng.random() < 0.9:
        return made.guard.pose
    return Pose(made.guard.pose.position_m + rng.normal(scale=0.04, size=3), made.guard.pose.rotation)


def enters_post(position_m: FloatArray) -> bool:
    inside = (position_m > np.array(POST.min_m) + 1e-6) & (position_m < np.array(POST.max_m) - 1e-6)
    return bool(inside.all())


def run_block(seed: int) -> None:
    """Run one block of sequences on one robot and check what was commanded."""
    rng = np.random.default_rng(seed)
    spec = spec_of(rng)
    frame = rng.choice(["tcp", "base"])
    made = ActionController(spec, ActionSpace(frame=frame), 0.1)
    now_ns = 0
    made.anchor(HOME, now_ns)
    record = MotionRecord(HOME)
    is_even = rng.random() < 0.8
    for _ in range(BLOCK):
        fate = rng.random()
        if fate < 0.02:  # the arm was let go, and a person has moved it
            check(record, spec.limits)
            made.release()
            pose = Pose(np.array([0.4, 0.0, 0.3]) + rng.uniform(-0.1, 0.1, 3), HOME.rotation)
            made.anchor(pose, now_ns)
            record = MotionRecord(pose)
        elif fate < 0.1:  # streams have failed
            made.hold()
        elif fate < 0.95:
            made.begin(any_action(rng), measured_by(rng, made), now_ns, share=rng.choice([0.05, 1.0]))
        for _ in range(int(rng.integers(1, 4))):
            step_ns = TICK_NS if is_even else int(rng.integers(1_000_000, 90_000_000))
            now_ns += step_ns
            record.add(made.command(now_ns).pose_tcp_in_base, step_ns * 1e-9)
    check(record, spec.limits)


def check(record: MotionRecord, limits: LimitsSpec) -> None:
    record.assert_within(limits)
    assert not any(enters_post(pose.position_m) for pose in record.poses)


@pytest.mark.slow
def test_no_command_leaves_the_limits() -> None:
    blocks = -(-NUM_SEQUENCES // BLOCK)
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        list(pool.map(run_block, range(blocks), chunksize=8))
