# SPDX-License-Identifier: Apache-2.0
"""The operator's knobs: ROS parameters of the policy node, described and bounded.

Facts about the robot are in the robot spec, facts about the model in the checkpoint, not here. The shipped values
are in ``config/policy_node.param.yaml``; a test holds both equal.
"""

from dataclasses import dataclass
from typing import get_args

from vla_core.schedules import ChunkSchedule, ScheduleName, make_schedule
from vla_policy_node.knobs import knob


@dataclass(frozen=True, kw_only=True)
class PolicyNodeParameters:
    """Values of the parameters at one moment; each field's metadata describes it to ROS."""

    robot_spec: str = knob("", "Path of the robot spec (config/robots/<robot>.yaml)", read_only=True)
    checkpoint: str = knob("", "Directory of the checkpoint", read_only=True)
    device: str = knob("auto", "Device of the model", one_of=("auto", "cpu", "cuda"), read_only=True)
    compile: bool = knob(
        False,
        "Compile the model at configure: shorter ticks, but the start takes a minute or more",
        read_only=True,
    )
    alternate_cameras: bool = knob(
        False, "Encode one camera per tick, in turn: cheaper, but the other picture is a tick old", read_only=True
    )
    policy_server: str = knob(
        "", "Address of a policy server (tcp://HOST:PORT) that runs the model instead of this node", read_only=True
    )
    policy_keys: str = knob("", "Folder with the keys of this client of the policy server", read_only=True)
    policy_allow_plain_text: bool = knob(
        False, "Talk to the policy server without keys: everybody on the way reads and changes it", read_only=True
    )
    policy_timeout_s: float = knob(
        1.0, "Longest wait for the policy server in one tick", range=(0.05, 60.0), read_only=True
    )
    command_enabled: bool = knob(
        False, "Send commands to the robot; false is shadow mode: they go to ~/shadow/* and the arm is never moved"
    )
    schedule: str = knob("first_action", "Which actions of a chunk are executed", one_of=get_args(ScheduleName))
    num_executed: int = knob(1, "Actions of each chunk that receding_horizon executes", range=(1, 100))
    ensemble_decay: float = knob(
        0.3, "How fast older chunks lose weight in temporal_ensemble, per period of the policy", range=(0.0, 100.0)
    )
    num_blended: int = knob(2, "Actions over which overlap_blend fades a new chunk in", range=(0, 100))
    on_new_instruction: str = knob(
        "reset", "What a new sentence does to history and to the rest of the chunk", one_of=("reset", "keep")
    )
    action_timeout_s: float = knob(1.0, "Without a new action for longer the node holds", range=(0.05, 60.0))
    require_deadman: bool = knob(
        False, "Hold unless true keeps coming on vla/deadman (std_msgs/Bool): a button that a person holds"
    )
    deadman_timeout_s: float = knob(
        0.3, "A dead-man message older than this counts as released", range=(0.05, 5.0)
    )
    black_box_dir: str = knob(
        "~/.ros/vla_black_box", "Folder for what happened before the arm was stopped; empty: none", read_only=True
    )
    black_box_s: float = knob(20.0, "Seconds that the black box keeps", range=(1.0, 600.0), read_only=True)
    status_rate_hz: float = knob(5.0, "Rate of ~/status between changes", range=(0.2, 50.0), read_only=True)
    autostart: bool = knob(False, "Configure and activate at start", read_only=True)

    def make_schedule(self) -> ChunkSchedule:
        """Return a new schedule."""
        return make_schedule(*self._schedule_settings)

    def has_schedule_of(self, other: "PolicyNodeParameters") -> bool:
        """Return whether the schedules are made alike."""
        return self._schedule_settings == other._schedule_settings

    @property
    def _schedule_settings(self) -> tuple[ScheduleName, int, float, int]:
        name: ScheduleName = self.schedule  # type: ignore[assignment]
        return name, self.num_executed, self.ensemble_decay, self.num_blended
