# SPDX-License-Identifier: Apache-2.0
"""Predicted commands against recorded ones: errors per axis, gripper, latency, dropped ticks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace, target_pose
from vla_core.codecs.pose_stamped import decode_pose
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import RobotSpec
from vla_core.units import NS_PER_S
from vla_policy_node.replaying.bag_player import Heard
from vla_policy_node.replaying.recorded_bag import RecordedBag, ReplayError, Track, commanded_open


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a replay has shown.

    Attributes:
        reference: What predictions are compared with: ``recorded commands`` or ``measured poses``.
        times_s: (N,) times of the predicted commands, seconds of the bag.
        predicted: (N, 3) predicted positions in base, metres.
        recorded: (N, 3) recorded positions in base.
        errors: (N, 6) predicted minus recorded: metres and radians (rotation vector), in base axes.
        motion_errors: (M, 6) motion that the first action of each chunk asks for, minus the one that was recorded
            in that period: metres and radians, in base axes. Unlike ``errors`` they do not add up.
        recorded_motions: (M, 6) the recorded motions: the errors of a policy that asks for none.
        gripper_reference: What the gripper is compared with: ``commanded`` or ``measured``.
        gripper_agreement: Share of the time in [0, 1] in which both say open or both closed; ``None`` without a
            prediction.
        num_ticks: Inferences.
        expected_ticks: Ticks of the checkpoint's rate in the time that was played.
        inference_ms: (T,) wall times of the inferences.
        latency_ms: Picture stamp to command, median and 95th percentile.
        latest_ms: How much later than planned the latest message was played.
        is_trained: Whether the policy is more than random weights.
    """

    reference: str
    times_s: FloatArray
    predicted: FloatArray
    recorded: FloatArray
    errors: FloatArray
    motion_errors: FloatArray
    recorded_motions: FloatArray
    gripper_reference: str
    gripper_agreement: float | None
    num_ticks: int
    expected_ticks: int
    inference_ms: FloatArray
    latency_ms: tuple[float, float]
    latest_ms: float
    is_trained: bool

    @property
    def mean_error_m(self) -> float:
        """Mean distance between predicted and recorded position."""
        return float(np.linalg.norm(self.errors[:, :3], axis=1).mean())


def compare(bag: RecordedBag, spec: RobotSpec, space: ActionSpace, heard: Heard, rate: float) -> Comparison:
    """Return how predicted and recorded commands differ.

    Args:
        bag: What was recorded.
        spec: The robot.
        space: Meaning of the policy's actions.
        heard: What the policy node said.
        rate: Seconds of the bag per second.

    Raises:
        ReplayError: The policy node has commanded nothing.
    """
    measured, commanded = bag.measured_poses(), bag.commanded_poses()
    reference = commanded or measured
    rows = [(at_ns, decode_pose(message, spec.base_frame)) for at_ns, message in heard.poses]
    found = [
        (at_ns, pose, wanted)
        for at_ns, pose in rows
        if at_ns <= measured.times_ns[-1] and (wanted := reference.at(at_ns)) is not None
    ]
    if not found:
        status = heard.statuses[-1] if heard.statuses else None
        why = status.detail if status is not None and status.detail else "it gave no reason"
        raise ReplayError(f"the policy node has commanded nothing while the bag was played: {why}")
    gripper_reference, gripper = bag.gripper()
    times_ns = [at_ns for at_ns, _, _ in found]
    status = heard.statuses[-1]
    period_ns = round(NS_PER_S / status.trained_rate_hz * rate)
    predicted_motions, recorded_motions = _motions(space, heard, measured, reference, period_ns)
    played_s = (measured.times_ns[-1] - measured.times_ns[0]) / NS_PER_S / rate
    return Comparison(
        reference="recorded commands" if commanded else "measured poses",
        times_s=(np.array(times_ns) - measured.times_ns[0]) / NS_PER_S,
        predicted=np.array([pose.position_m for _, pose, _ in found]),
        recorded=np.array([wanted.position_m for _, _, wanted in found]),
        errors=np.array([_error(wanted, pose) for _, pose, wanted in found]),
        motion_errors=predicted_motions - recorded_motions,
        recorded_motions=recorded_motions,
        gripper_reference=gripper_reference,
        gripper_agreement=_agreement(spec, heard.gripper, gripper, times_ns),
        num_ticks=len(heard.chunks),
        expected_ticks=int(played_s * status.trained_rate_hz),
        inference_ms=np.array([inference_ms for _, _, inference_ms in heard.chunks]),
        latency_ms=(float(status.latency_p50_ms), float(status.latency_p95_ms)),
        latest_ms=heard.latest_ms,
        is_trained=bool(status.policy_is_trained),
    )


def _error(wanted: Pose, found: Pose) -> FloatArray:
    turn_rad = (found.rotation * wanted.rotation.inv()).as_rotvec()
    return np.concatenate([found.position_m - wanted.position_m, turn_rad])


def _motions(
    space: ActionSpace, heard: Heard, measured: Track[Pose], reference: Track[Pose], period_ns: int
) -> tuple[FloatArray, FloatArray]:
    """Return (M, 6) motions that the first action of each chunk asks for, and those that were recorded then."""
    last_ns = reference.times_ns[-1] - period_ns
    predicted, begins_ns = [], []
    for at_ns, action, _ in heard.chunks:
        where = measured.at(at_ns)
        if where is not None and reference.times_ns[0] <= at_ns <= last_ns:
            predicted.append(_error(where, target_pose(space, where, action)))
            begins_ns.append(at_ns)
    if not predicted:
        raise ReplayError("the bag is too short for one action of the policy")
    times_ns = np.array(begins_ns)
    shifts_m = _positions_m(reference, times_ns + period_ns) - _positions_m(reference, times_ns)
    turns_rad = [_turn_rad(reference, at_ns, at_ns + period_ns) for at_ns in begins_ns]
    return np.array(predicted), np.hstack([shifts_m, np.array(turns_rad)])


def _turn_rad(track: Track[Pose], begin_ns: int, end_ns: int) -> FloatArray:
    begin, end = track.at(begin_ns), track.at(end_ns)
    assert begin is not None and end is not None, "both times are within the track"
    return np.asarray((end.rotation * begin.rotation.inv()).as_rotvec())


def _positions_m(track: Track[Pose], times_ns: NDArray[np.int64]) -> FloatArray:
    positions_m = np.array([pose.position_m for pose in track.values])
    begin_ns = track.times_ns[0]  # seconds since the epoch have too many digits for float64
    known_s, wanted_s = (np.array(track.times_ns) - begin_ns) / NS_PER_S, (times_ns - begin_ns) / NS_PER_S
    return np.stack([np.interp(wanted_s, known_s, column) for column in positions_m.T], axis=-1)


def _agreement(
    spec: RobotSpec, said: Sequence[tuple[int, float]], recorded: Track[float], times_ns: Sequence[int]
) -> float | None:
    predicted = Track([at_ns for at_ns, _ in said], [commanded_open(spec.gripper, value) for _, value in said])
    pairs = [(predicted.at(at_ns), recorded.at(at_ns)) for at_ns in times_ns]
    same = [(one > 0.5) == (two > 0.5) for one, two in pairs if one is not None and two is not None]
    return float(np.mean(same)) if same else None
