# SPDX-License-Identifier: Apache-2.0
"""The physics of arm and table, stepped by the caller. Equal seeds and commands give equal states, to the bit."""

from dataclasses import dataclass, replace

import mujoco
import numpy as np
from scipy.spatial.transform import Rotation

from vla_core.geometry import FloatArray, Pose, relative
from vla_sim.arm_drive import ArmDrive, SetPoint
from vla_sim.arm_goals import ArmGoal, CommandRefusedError
from vla_sim.scene.model import ARM_JOINTS, BLOCK_SIZE_M, BLOCKS, Scene, load_scene
from vla_sim.start_state import StartState, draw_start
from vla_sim.task_state import TabletopState
from vla_sim.tasks import StartScene, task_named

CONTROL_PERIOD_S = 0.01
FINGER_OPEN_M = 0.04
SETTLE_S = 0.1
LIGHT_SWITCHES_AT_M = 0.010
BUTTON_RELEASED_AT_M = 0.005


@dataclass(frozen=True, eq=False)
class ArmState:
    """What the arm's own sensors tell.

    Attributes:
        positions_rad: (7,) joint positions.
        velocities_rad_s: (7,) joint velocities.
        finger_m: Distance of a finger from the middle: 0 closed, 0.04 open.
        finger_m_s: Its velocity.
        pose_tcp_in_base: Pose of the TCP.
    """

    positions_rad: FloatArray
    velocities_rad_s: FloatArray
    finger_m: float
    finger_m_s: float
    pose_tcp_in_base: Pose


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a camera needs to draw the scene.

    Attributes:
        qpos: Positions of the whole model.
        is_light_on: Whether the light shines.
    """

    qpos: FloatArray
    is_light_on: bool


class Tabletop:
    """The simulated world. Not thread-safe: one owner at a time.

    Attributes:
        scene: The model and its addresses.
        period_s: Time of one control step, seconds.

    Args:
        seed: Seed of the first scene.
        task: Task that it must be fit for.
        with_contacts: Whether things touch. Without, the arm moves as on an empty table.
    """

    def __init__(self, seed: int = 0, task: str | None = None, *, with_contacts: bool = True) -> None:
        self.scene: Scene = load_scene(with_contacts=with_contacts)
        self.period_s = CONTROL_PERIOD_S
        self._data = mujoco.MjData(self.scene.model)
        self._drive = ArmDrive(self.scene)
        self._substeps = round(CONTROL_PERIOD_S / self.scene.model.opt.timestep)
        model, drives = self.scene.model, slice(len(ARM_JOINTS))
        self._stiffness = model.actuator_gainprm[drives, 0]
        damping = model.dof_damping[self.scene.arm_qvel] - model.actuator_biasprm[drives, 2]
        # What is asked for is held for a whole period, so it is ahead of an even motion by half of one already.
        self._lead_s = damping / self._stiffness - CONTROL_PERIOD_S / 2.0
        self._pads = [self.scene.model.geom(name).id for name in ("left_pad", "right_pad")]
        self._block_geoms = {self.scene.model.geom(name).id: name for name in BLOCKS}
        self.reset(seed, task)

    def reset(self, seed: int, task: str | None = None) -> TabletopState:
        """Put everything where the seed says, fit for the task if one is named, and return the state.

        Raises:
            VlaError: There is no such task.
        """
        required = task_named(task).start if task else StartScene()
        self._place(draw_start(seed, required))
        self.step(SETTLE_S)
        self._data.time = 0.0
        return self.state()

    def begin_at(self, joints_rad: FloatArray) -> None:
        """Reset to the scene of seed 0, with the arm at rest in a pose of its own.

        Args:
            joints_rad: (7,) arm joints.
        """
        self._place(replace(draw_start(0, StartScene()), joints_rad=joints_rad))
        self.step(SETTLE_S)
        self._data.time = 0.0

    @property
    def time_s(self) -> float:
        """Simulated time since the reset, seconds."""
        return float(self._data.time)

    @property
    def snapshot(self) -> Snapshot:
        """A copy of what the cameras need."""
        return Snapshot(self._data.qpos.copy(), self._is_light_on)

    def follow(self, goal: ArmGoal) -> None:
        """Give the arm a new goal.

        Raises:
            CommandRefusedError: The arm cannot follow it; the old goal stays.
        """
        self._drive.follow(goal)

    def grip(self, finger_m: float) -> None:
        """Ask the fingers for a distance from the middle: 0 closed, 0.04 open.

        Raises:
            CommandRefusedError: It is not such a distance; the fingers keep their goal.
        """
        if not -1e-6 <= finger_m <= FINGER_OPEN_M + 1e-6:
            raise CommandRefusedError(
                f"the gripper is asked for {finger_m:.4g} m; a finger can be 0 (closed) to {FINGER_OPEN_M:g} m "
                "(open) from the middle"
            )
        self._data.ctrl[7:9] = np.clip(finger_m, 0.0, FINGER_OPEN_M)

    def step(self, duration_s: float) -> None:
        """Advance by a duration, rounded to whole control steps."""
        for _ in range(round(duration_s / CONTROL_PERIOD_S)):
            self._ask_for(self._drive.step(self.time_s, CONTROL_PERIOD_S))
            mujoco.mj_step(self.scene.model, self._data, self._substeps)
            self._switch_light()
        # Positions of bodies and sites are those of before the last integration.
        mujoco.mj_kinematics(self.scene.model, self._data)

    def arm_state(self) -> ArmState:
        """Return joints, fingers and TCP pose."""
        data, scene = self._data, self.scene
        return ArmState(
            positions_rad=data.qpos[scene.arm_qpos].copy(),
            velocities_rad_s=data.qvel[scene.arm_qvel].copy(),
            finger_m=float(data.qpos[scene.finger_qpos].mean()),
            finger_m_s=float(data.qvel[scene.finger_qvel].mean()),
            pose_tcp_in_base=scene.pose_tcp_in_base(data),
        )

    def state(self) -> TabletopState:
        """Return the state of the things on the table."""
        qpos, places = self._data.qpos, self.scene.fixture_qpos
        return TabletopState(
            drawer_m=float(qpos[places["drawer"]]),
            slider_m=float(qpos[places["slider"]]),
            button_m=float(qpos[places["button"]]),
            is_button_down=self._is_button_pressed,
            is_light_on=self._is_light_on,
            blocks={name: self._block_pose(name) for name in BLOCKS},
            held=self._held(),
        )

    def _ask_for(self, set_point: SetPoint) -> None:
        """Ask the position drives ahead of the set point, by what damping and inertia hold them back."""
        accelerations, torques = np.zeros(self.scene.model.nv), np.zeros(self.scene.model.nv)
        accelerations[self.scene.arm_qvel] = set_point.accelerations_rad_s2
        mujoco.mj_mulM(self.scene.model, self._data, torques, accelerations)
        ahead_rad = self._lead_s * set_point.velocities_rad_s + torques[self.scene.arm_qvel] / self._stiffness
        self._data.ctrl[: len(ARM_JOINTS)] = set_point.positions_rad + ahead_rad

    def _place(self, start: StartState) -> None:
        mujoco.mj_resetData(self.scene.model, self._data)
        qpos, table = self._data.qpos, start.tabletop
        qpos[self.scene.arm_qpos] = start.joints_rad
        qpos[self.scene.finger_qpos] = FINGER_OPEN_M
        for name, pose in table.blocks.items():
            at = self.scene.block_qpos[name]
            qpos[at : at + 7] = [*pose.position_m, *np.roll(pose.quat_xyzw, 1)]
        qpos[self.scene.fixture_qpos["drawer"]] = table.drawer_m
        qpos[self.scene.fixture_qpos["slider"]] = table.slider_m
        self._is_light_on, self._is_button_pressed = table.is_light_on, False
        self._drive.reset(start.joints_rad)
        self.grip(FINGER_OPEN_M)

    def _block_pose(self, name: str) -> Pose:
        at = self.scene.block_qpos[name]
        quat_wxyz = self._data.qpos[at + 3 : at + 7]
        return Pose(self._data.qpos[at : at + 3].copy(), Rotation.from_quat(np.roll(quat_wxyz, -1)))

    def _held(self) -> str | None:
        touching: dict[str, set[int]] = {}
        for first, second in self._data.contact.geom.tolist():
            for pad, other in ((first, second), (second, first)):
                if pad in self._pads and other in self._block_geoms:
                    touching.setdefault(self._block_geoms[other], set()).add(pad)
        gripped = (name for name, pads in touching.items() if len(pads) == 2)
        return next((name for name in gripped if self._is_between_fingers(name)), None)

    def _is_between_fingers(self, block: str) -> bool:
        """Whether a block that both pads touch is between them, and not pushed by them side by side."""
        across_m = relative(self.scene.pose_tcp_in_base(self._data), self._block_pose(block)).position_m[0]
        return bool(abs(across_m) < BLOCK_SIZE_M / 2)

    def _switch_light(self) -> None:
        pressed_m = self._data.qpos[self.scene.fixture_qpos["button"]]
        if pressed_m > LIGHT_SWITCHES_AT_M and not self._is_button_pressed:
            self._is_light_on, self._is_button_pressed = not self._is_light_on, True
        elif pressed_m < BUTTON_RELEASED_AT_M:
            self._is_button_pressed = False
