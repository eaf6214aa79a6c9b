# SPDX-License-Identifier: Apache-2.0
"""Every choice that decides what the frames of a dataset are; saved beside them as ``conversion.yaml``."""

from dataclasses import dataclass, field, replace
from typing import Literal

from vla_core.actions.action_space import ActionSpace
from vla_core.errors import ConfigError
from vla_core.observer import stream_topics
from vla_core.robot_spec import RobotSpec

Source = Literal["auto", "command", "measured"]
EpisodesFrom = Literal["auto", "bag", "markers", "instruction", "gaps", "gripper", "ranges"]
FormatName = Literal["calvin", "lerobot"]


@dataclass(frozen=True, kw_only=True)
class ConversionConfig:
    """What the frames are.

    Attributes:
        format: Layout of the dataset.
        rate_hz: Frames per second: the rate of the policy that will be trained.
        namespace: Where the relative topics of the robot spec are looked up; empty for the root.
        stamps: When a message was made: its ``header`` says so, or it counts as made when it was received.
        delay_ms: Stream to the delay that replaces the robot spec's ``delay_ms``.
        action_source: Motion from the recorded ``command`` topic, or from consecutive ``measured`` poses; ``auto``
            takes commands where every frame of an episode has one.
        action_frame: Frame of the actions.
        translation_m: The motion that an action of 1 stands for, metres; CALVIN's is the default.
        rotation_rad: The same for rotation, radians.
        gripper_source: Decision of the gripper from the recorded ``command`` or the ``measured`` opening; ``auto``
            takes the command from the first one on.
        twist_timeout_s: A twist that is not repeated for this long has ended.
        episodes_from: What cuts a bag into episodes; ``auto`` takes ranges of the sentences' file, else markers,
            else ``episode.yaml`` (the whole bag), else changes of the instruction, else the whole bag.
        gap_s: With ``gaps``: this long without an observation ends an episode, seconds.
        instruction: The sentence of everything; ``None`` looks for it in sidecar files and bags.
        trim_idle: Leave out standing still at both ends of an episode.
        idle_m: An action of less is no motion, metres per frame.
        idle_rad: The same for rotation, radians per frame.
        idle_margin: Frames of standing still that stay at each end.
        min_frames: An unbroken row of fewer frames is left out.
        keep_failed: Convert episodes whose outcome is ``failure``, too.
        keep_cut: Convert what there is of an episode that was cut by damage, too.
        validation_share: Share of the episodes that become validation, chosen by a hash of their keys.
        validation_every: Take every n-th episode instead; ``None`` for the share.
        compress: Compress the frames (CALVIN): smaller and slower.
    """

    format: FormatName = "calvin"
    rate_hz: float = 10.0
    namespace: str = ""
    stamps: Literal["header", "receive"] = "header"
    delay_ms: dict[str, float] = field(default_factory=dict)
    action_source: Source = "auto"
    action_frame: Literal["tcp", "base"] = "tcp"
    translation_m: float = ActionSpace.translation_m
    rotation_rad: float = ActionSpace.rotation_rad
    gripper_source: Source = "auto"
    twist_timeout_s: float = 0.25
    episodes_from: EpisodesFrom = "auto"
    gap_s: float = 1.0
    instruction: str | None = None
    trim_idle: bool = True
    idle_m: float = 0.0005
    idle_rad: float = 0.002
    idle_margin: int = 3
    min_frames: int = 2
    keep_failed: bool = False
    keep_cut: bool = False
    validation_share: float = 0.1
    validation_every: int | None = None
    compress: bool = False

    def __post_init__(self) -> None:
        for key in ("rate_hz", "gap_s", "twist_timeout_s", "translation_m", "rotation_rad"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{key} must be above 0, found {getattr(self, key):g}")
        for key in ("idle_m", "idle_rad", "idle_margin"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must not be below 0, found {getattr(self, key):g}")
        if self.min_frames < 2:
            raise ValueError(f"min_frames must be at least 2 (one action), found {self.min_frames}")
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share must be in [0, 1), found {self.validation_share:g}")
        if self.validation_every is not None and self.validation_every < 2:
            raise ValueError(f"validation_every must be at least 2, found {self.validation_every}")

    @property
    def period_s(self) -> float:
        """Seconds between two frames."""
        return 1.0 / self.rate_hz

    @property
    def action_space(self) -> ActionSpace:
        """Meaning of the actions, without normalisation."""
        return ActionSpace(
            frame=self.action_frame, translation_m=self.translation_m, rotation_rad=self.rotation_rad
        )

    def require_rate(self, spec: RobotSpec) -> None:
        """Refuse a rate above that of a camera, at which frames would show a picture twice.

        Raises:
            ConfigError: A camera is slower; the node refuses such a policy for the same reason.
        """
        for name, camera in spec.cameras.items():
            if camera.rate_hz < 0.999 * self.rate_hz:
                raise ConfigError(
                    f"rate_hz is {self.rate_hz:g}, but camera '{name}' of robot '{spec.name}' runs at "
                    f"{camera.rate_hz:g} Hz: frames would show a picture twice. Give a rate that is not above it"
                )

    def with_delays(self, spec: RobotSpec) -> RobotSpec:
        """Return the robot spec with the delays of this configuration.

        Raises:
            ConfigError: A delay is of no stream of the robot, or too long for it.
        """
        unknown = sorted(set(self.delay_ms) - set(stream_topics(spec)))
        if unknown:
            raise ConfigError(
                f"delay_ms: '{unknown[0]}' is no stream of robot '{spec.name}'; "
                f"allowed: {sorted(stream_topics(spec))}"
            )
        delays = self.delay_ms
        try:
            cameras = {
                name: replace(camera, delay_ms=delays.get(name, camera.delay_ms))
                for name, camera in spec.cameras.items()
            }
            return replace(
                spec,
                cameras=cameras,
                tcp_pose=replace(spec.tcp_pose, delay_ms=delays.get("tcp_pose", spec.tcp_pose.delay_ms)),
                joints=replace(spec.joints, delay_ms=delays.get("joints", spec.joints.delay_ms)),
            )
        except ValueError as error:
            raise ConfigError(f"delay_ms: {error}") from error
