# SPDX-License-Identifier: Apache-2.0
"""A tabletop in which a policy acts, without ROS: pictures out, action chunks in, one tick at a time.

From chunk to arm it is the policy node's way: schedule, soft start, controller and guard, commands at their rate.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from vla_core.actions.gripper import open_from_joint
from vla_core.controller import ActionController
from vla_core.errors import VlaError
from vla_core.geometry import Pose
from vla_core.policy_contract import PolicyContract
from vla_core.robot_spec import RobotSpec
from vla_core.schedules import ChunkSchedule
from vla_core.soft_start import SoftStart
from vla_core.types import ActionChunk, Observation
from vla_core.units import NS_PER_S
from vla_sim.appearance import check_randomised, draw_appearance
from vla_sim.cameras import Cameras, Picture, spec_sizes_px
from vla_sim.episode import carry_out
from vla_sim.tabletop import Tabletop
from vla_sim.task_state import TabletopState

LONGEST_LATENCY_S = 1.0  # the policy node takes no older chunk (action_timeout_s)


@dataclass(frozen=True, kw_only=True)
class Driving:
    """How chunks are carried out.

    Attributes:
        make_schedule: Makes the schedule that says which action of which chunk is due.
        latency_s: How long after its observation a chunk comes. Ticks go on meanwhile, as with a slow camera or
            network.
    """

    make_schedule: Callable[[], ChunkSchedule]
    latency_s: float = 0.0


class PolicyWorld:
    """One world and the arm in it. One owner, in one thread: it holds GL contexts.

    Args:
        spec: The robot.
        contract: What the policy looks through, how often, and what its actions mean.
        driving: How chunks are carried out.
        randomise: What of the looks is drawn from the seed; see ``vla_sim.appearance``.

    Raises:
        VlaError: Robot and policy do not fit, or period or latency is no whole number of command periods.
    """

    def __init__(
        self, spec: RobotSpec, contract: PolicyContract, driving: Driving, randomise: Collection[str] = ()
    ) -> None:
        contract.check_fits(spec)
        check_randomised(randomise)
        self._spec, self._contract, self._driving = spec, contract, driving
        self._command_period_s = 1.0 / spec.command.rate_hz
        self._num_commands = _whole(contract.period_s, self._command_period_s, "period_s of the checkpoint")
        self._delay_commands = _whole(driving.latency_s, self._command_period_s, "latency")
        if driving.latency_s >= LONGEST_LATENCY_S:
            raise VlaError(
                f"latency {driving.latency_s:g} s: the policy node drops chunks as late as {LONGEST_LATENCY_S:g} s"
            )
        self._randomise = tuple(randomise)
        self._tabletop = Tabletop()
        sizes_px = {name: size for name, size in spec_sizes_px(spec).items() if name in contract.cameras}
        self._cameras = Cameras(sizes_px)
        self._other_cameras: Cameras | None = None
        self.reset(0, None)

    def reset(self, seed: int, scene: str | None, *, softly: bool = True) -> TabletopState:
        """Begin in the scene of a seed, fit for the task ``scene`` if one is named; return its state.

        Args:
            seed: Of the scene, its looks and the sensor noise.
            scene: Name of a task.
            softly: Whether motion grows from nothing, as the policy node begins.
        """
        state = self._tabletop.reset(seed, scene)
        self._appearance = draw_appearance(seed, self._randomise)
        self._cameras.reset(seed, self._appearance)
        if self._other_cameras is not None:
            self._other_cameras.dress(self._appearance)
        self._controller = ActionController(self._spec, self._contract.action_space, self._contract.period_s)
        self._controller.anchor(self._tabletop.arm_state().pose_tcp_in_base, self._now_ns)
        self._soft_start = SoftStart(self._spec.limits.soft_start_s if softly else 0.0)
        self._soft_start.begin(self._now_ns)
        self.begin_sentence()
        return state

    def begin_sentence(self) -> None:
        """Drop what is left of the actions for the sentence before; the arm comes to rest meanwhile."""
        self._schedule = self._driving.make_schedule()
        self._on_the_way: list[tuple[int, ActionChunk]] = []
        self._controller.hold()

    @property
    def time_s(self) -> float:
        """Simulated time since the reset, seconds."""
        return self._tabletop.time_s

    @property
    def interventions(self) -> dict[str, int]:
        """Stage of the guard to how often it acted since the reset, without those that never did."""
        return {str(stage): count for stage, count in self._controller.guard.interventions.items() if count}

    def state(self) -> TabletopState:
        """Return where the things are."""
        return self._tabletop.state()

    def observe(self) -> Observation:
        """Return what the policy sees now."""
        arm, gripper = self._tabletop.arm_state(), self._spec.gripper
        images = self._cameras.render(self._tabletop.snapshot)
        return Observation(
            stamp_ns=self._now_ns,
            images=images,
            pose_tcp_in_base=arm.pose_tcp_in_base,
            joint_positions_rad=arm.positions_rad,
            gripper_open=open_from_joint(arm.finger_m, closed=gripper.joint_closed, opened=gripper.joint_open),
            source_stamps_ns=dict.fromkeys((*images, "tcp_pose", "joints"), self._now_ns),
        )

    def camera_pose_in_base(self, name: str) -> Pose:
        """Return the pose of a camera's optical frame in base, as of the last observation."""
        return self._cameras.pose_in_base(name)

    def other_pictures(self) -> dict[str, Picture]:
        """Return the pictures of the cameras that the policy does not look through."""
        if self._other_cameras is None:
            sizes_px = spec_sizes_px(self._spec)
            others = {name: size for name, size in sizes_px.items() if name not in self._contract.cameras}
            self._other_cameras = Cameras(others)
            self._other_cameras.dress(self._appearance)
        return self._other_cameras.render(self._tabletop.snapshot)

    def rest(self) -> None:
        """Let one period pass without a command; the arm is where it stands when the first one comes."""
        self._tabletop.step(self._contract.period_s)
        self._controller.anchor(self._tabletop.arm_state().pose_tcp_in_base, self._now_ns)

    def advance(self, chunk: ActionChunk | None) -> None:
        """Take the chunk for the observation of this moment, if there is one, and let one period pass."""
        if chunk is not None:
            self._on_the_way.append((self._delay_commands, chunk))
        for _ in range(self._num_commands):
            self._receive()
            action = self._schedule.due(self._now_ns)
            if action is not None:
                measured = self._tabletop.arm_state().pose_tcp_in_base
                self._controller.begin(action, measured, self._now_ns, self._soft_start.share(self._now_ns))
            carry_out(self._tabletop, self._controller, self._spec, self._command_period_s)

    def close(self) -> None:
        """Give the GL contexts back."""
        self._cameras.close()
        if self._other_cameras is not None:
            self._other_cameras.close()

    @property
    def _now_ns(self) -> int:
        return round(self._tabletop.time_s * NS_PER_S)

    def _receive(self) -> None:
        """Hand over the chunks that arrive now; one that is not finite ends those before it."""
        for left, chunk in self._on_the_way:
            if left > 0:
                continue
            if self._controller.guard.are_finite(np.asarray(chunk.actions)):
                self._schedule.push(chunk)
            else:
                self._schedule.clear()
        self._on_the_way = [(left - 1, chunk) for left, chunk in self._on_the_way if left > 0]


def _whole(duration_s: float, period_s: float, what: str) -> int:
    count = round(duration_s / period_s)
    if duration_s < 0.0 or abs(count * period_s - duration_s) > 1e-6:
        raise VlaError(
            f"{what} is {duration_s:g} s; the simulation needs a multiple of the command period {period_s:g} s"
        )
    return count
