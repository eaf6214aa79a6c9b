# SPDX-License-Identifier: Apache-2.0
"""The last word before a command leaves: small enough to read in one sitting.

Fixed order. Each stage counts what it did, and does what the robot spec says: ``clamp`` (shorten and go on),
``hold`` (come to rest until the policy asks for something that passes), ``stop`` (come to rest until a person arms
again).

1. ``finite``        a NaN or infinite action, pose or command is refused.
2. ``age``           a missing, old or frozen stream is refused. (Found by the observer, counted here.)
3. ``start``         no motion begins at a measured pose that is implausible.
4. ``step``          one policy action asks for no more than ``max_step``.
5. ``speed``         the reference between two commands moves no faster than ``max_speed``.
6. ``workspace``     goal and reference stay in the workspace and out of the keep-out boxes.
7. ``acceleration``  the motion that follows the reference keeps speed, acceleration, jerk and workspace, and can
                     always be stopped within them (``safe_motion``).
8. ``joints``        joint positions and speeds, for interfaces that command joints. (Found where joints are
                     computed, counted here.)

``admit`` runs stages 1, 4 and 6 once per policy action (a goal outside the box would have to be undone by as many
actions as led there); ``follow`` runs 1, 5, 6 and 7 once per command. A pose that starts outside the workspace (a
person put it there) may come back in and never goes further out.

This is software on a general-purpose computer: it is not a certified safety function (``docs/safety.md``).
"""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from vla_core.geometry import FloatArray, Pose, angle_rad, distance_m, shortened, step_towards
from vla_core.guard.braking import MotionLimits
from vla_core.guard.safe_motion import SafeMotion
from vla_core.guard.workspace import Workspace
from vla_core.robot_spec import GuardStageName, LimitsSpec

STAGES: tuple[GuardStageName, ...] = get_args(GuardStageName)


@dataclass(frozen=True)
class Trip:
    """A stage that does not let the motion go on.

    Attributes:
        stage: The stage.
        needs_arming: Whether a person must arm again (``stop``), or a better action is enough (``hold``).
        detail: A sentence for people.
    """

    stage: GuardStageName
    needs_arming: bool
    detail: str


class Guard:
    """Keeps the motion of one robot inside its limits. Not thread-safe.

    Attributes:
        interventions: How often each stage changed or refused something since the start.
        trip: Why the motion may not go on; ``None`` while it may. Cleared by ``forget_trip``.

    Args:
        limits: Limits of the robot.
        command_period_s: Time from one command to the next, seconds.
    """

    def __init__(self, limits: LimitsSpec, command_period_s: float) -> None:
        self._limits = limits
        self._workspace = Workspace(limits)
        self._motion = SafeMotion(MotionLimits.of(limits), self._workspace, command_period_s)
        self._reference = Pose.identity()
        self.interventions: Counter[GuardStageName] = Counter(dict.fromkeys(STAGES, 0))
        self.trip: Trip | None = None

    @property
    def pose(self) -> Pose:
        """The pose commanded last, TCP in base."""
        return self._motion.pose

    @property
    def reference(self) -> Pose:
        """The reference that the motion follows, TCP in base."""
        return self._reference

    @property
    def is_at_rest(self) -> bool:
        """Whether the commands do not change any more by themselves."""
        return self._motion.is_at_rest

    @property
    def rest_pose(self) -> Pose:
        """Where the motion ends when nothing more is asked for."""
        return self._motion.rest_pose

    def copy(self) -> "Guard":
        """Return a guard in the same state that counts and moves for itself."""
        double = copy.copy(self)
        double._motion = copy.copy(self._motion)
        double.interventions = self.interventions.copy()
        return double

    def why_not_start_at(self, measured: Pose, margin_m: float) -> str | None:
        """Return why no motion may begin at ``measured``: it is further than ``margin_m`` outside the box.

        A pose like this is a driver's error (millimetres for metres, another frame) or an arm that a person must
        bring back. Commanding it, or the way back from it, would be a large motion that no policy has asked for.
        """
        outside_m = self._workspace.outside_m(measured.position_m)
        if _is_finite(measured) and outside_m <= margin_m:
            return None
        where = ", ".join(f"{value:.3f}" for value in measured.position_m)
        return (
            f"the measured TCP pose ({where} m) is {outside_m:.3f} m outside the workspace of the robot spec. "
            "Bring the arm back, or correct the driver or the workspace"
        )

    def begin(self, measured: Pose) -> None:
        """Be at rest at the measured pose."""
        self._motion.begin(measured)
        self._reference = measured

    def admit(self, reference: Pose, goal: Pose) -> Pose | None:
        """Return the goal of one policy action, within one step and the workspace; ``None`` refuses it.

        Both poses are of the TCP in the base frame.
        """
        if not _is_finite(goal):
            self.intervene("finite", "the goal of an action is not finite")
            return None
        limits = self._limits
        nearer = _within_reach(reference, goal, limits.max_step_m, limits.max_step_rad)
        if nearer is not goal and not self.intervene(
            "step",
            f"an action asks for {distance_m(reference, goal):.3f} m and {angle_rad(reference, goal):.3f} rad; "
            f"limits.max_step is {limits.max_step_m:g} m and {limits.max_step_rad:g} rad",
        ):
            return None
        return self._within_workspace(nearer, reference)

    def follow(self, reference: Pose, velocity: FloatArray, dt_s: float) -> Pose:
        """Return the pose to command now, on the way that follows a moving reference.

        Args:
            reference: Pose asked for now, TCP in base.
            velocity: (2, 3) of the reference from now on, m/s and rad/s in base axes.
            dt_s: Time since the previous command, seconds.
        """
        passed = self._passed(reference, velocity, dt_s)
        if passed is None:
            return self.brake(dt_s)
        self._reference = passed
        if not self._motion.follow(passed, self._slowed(velocity), dt_s):
            self.intervene("acceleration", "the motion cannot follow within limits.max_acceleration and max_jerk")
        return self.pose

    def brake(self, dt_s: float) -> Pose:
        """Return the pose to command now, on the way to rest."""
        self._reference = pose = self._motion.coast(dt_s)
        return pose

    def are_finite(self, actions: NDArray[Any]) -> bool:
        """Return whether all numbers of actions of any shape are finite; stage 1 for what the policy says."""
        is_finite = bool(np.isfinite(actions).all())
        if not is_finite:
            self.intervene("finite", "the policy gave an action that is not finite")
        return is_finite

    def intervene(self, stage: GuardStageName, detail: str, *, can_clamp: bool = True) -> bool:
        """Count what a stage found; return whether it may clamp and go on, or else trip.

        Args:
            stage: The stage.
            detail: What it found, for people.
            can_clamp: Whether there is anything to go on with; if not, ``clamp`` becomes ``hold``.
        """
        self.interventions[stage] += 1
        reaction = self._limits.reaction(stage)
        if reaction == "clamp" and can_clamp:
            return True
        if self.trip is None or reaction == "stop":
            self.trip = Trip(stage, reaction == "stop", f"guard stage '{stage}': {detail}")
        return False

    def forget_trip(self, *, armed: bool) -> None:
        """Let the motion go on: a better action has come, or (``armed``) a person has armed again."""
        if self.trip is not None and (armed or not self.trip.needs_arming):
            self.trip = None

    def _passed(self, reference: Pose, velocity: FloatArray, dt_s: float) -> Pose | None:
        """Return the reference after stages 1, 5 and 6; ``None`` when one of them trips."""
        if not _is_finite(reference) or not np.isfinite(velocity).all():
            self.intervene("finite", "the reference of a command is not finite")
            return None
        limits = self._limits
        slower = _within_reach(
            self._reference, reference, limits.max_speed_m_s * dt_s + 1e-9, limits.max_speed_rad_s * dt_s + 1e-6
        )
        if slower is not reference and not self.intervene(
            "speed",
            f"a command asks for {distance_m(self._reference, reference):.4f} m and "
            f"{angle_rad(self._reference, reference):.4f} rad within {dt_s * 1e3:.0f} ms; limits.max_speed is "
            f"{limits.max_speed_m_s:g} m/s and {limits.max_speed_rad_s:g} rad/s",
        ):
            return None
        return self._within_workspace(slower, self.pose)

    def _within_workspace(self, pose: Pose, start: Pose) -> Pose | None:
        nearest_m = self._workspace.nearest_m(pose.position_m, start.position_m)
        if np.array_equal(nearest_m, pose.position_m):
            return pose
        where = ", ".join(f"{value:.3f}" for value in pose.position_m)
        if not self.intervene("workspace", f"({where} m) is outside the workspace or in a keep-out box"):
            return None
        return Pose(nearest_m, pose.rotation)

    def _slowed(self, velocity: FloatArray) -> FloatArray:
        limits = self._limits
        return np.stack(
            [shortened(velocity[0], limits.max_speed_m_s), shortened(velocity[1], limits.max_speed_rad_s)]
        )


def _within_reach(start: Pose, end: Pose, reach_m: float, reach_rad: float) -> Pose:
    """Shorten the way from ``start`` to ``end`` until translation and rotation are both within reach."""
    length_m, turn_rad = distance_m(start, end), angle_rad(start, end)
    if length_m <= reach_m and turn_rad <= reach_rad:
        return end
    return step_towards(
        start,
        end,
        min(
            reach_m / length_m if length_m > reach_m else 1.0,
            reach_rad / turn_rad if turn_rad > reach_rad else 1.0,
        ),
    )


def _is_finite(pose: Pose) -> bool:
    return bool(np.isfinite(pose.position_m).all() and np.isfinite(pose.rotation.as_quat()).all())
