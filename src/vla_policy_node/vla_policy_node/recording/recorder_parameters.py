# SPDX-License-Identifier: Apache-2.0
"""The operator's knobs of the episode recorder: ROS parameters, described and bounded.

The shipped values are in ``config/episode_recorder.param.yaml``; a test holds both equal.
"""

from dataclasses import dataclass

from vla_policy_node.knobs import knob


@dataclass(frozen=True, kw_only=True)
class RecorderParameters:
    """Values of the parameters at one moment; each field's metadata describes it to ROS."""

    robot_spec: str = knob(
        "",
        "Path of the robot spec (config/robots/<robot>.yaml)",
        read_only=True,
        required="a robot spec (config/robots/*.yaml)",
    )
    output_dir: str = knob("", "Folder that gets one folder for each episode", read_only=True, required="a folder")
    storage: str = knob("mcap", "Format of the bags", one_of=("mcap", "sqlite3"), read_only=True)
    compression: str = knob(
        "lz4", "Compression of the chunks of an MCAP file", one_of=("none", "lz4", "zstd"), read_only=True
    )
    on_new_instruction: str = knob(
        "ignore",
        "ignore: a new sentence on vla/instruction is only recorded; new_episode: it ends the episode and begins "
        "the next. An empty sentence ends the episode in both",
        one_of=("ignore", "new_episode"),
    )
    queue_mib: int = knob(256, "Messages that may wait for the disk, MiB", range=(1, 65536), read_only=True)
    min_free_mib: int = knob(1024, "Room on the disk below which no episode is begun, MiB", range=(16, 1048576))
    min_rate_share: float = knob(0.9, "Share of a stream's rate below which the audit warns", range=(0.0, 1.0))
    max_gap_periods: float = knob(
        5.0,
        "Periods of a stream without a message above which the audit warns",
        range=(1.0, 1000.0),
    )
    status_rate_hz: float = knob(2.0, "Rate of ~/status and of the diagnostics", range=(0.2, 20.0), read_only=True)
