# SPDX-License-Identifier: Apache-2.0
"""What a dataset format must do: stream the frames of an episode into a folder, make a dataset of such folders.

Workers write episodes side by side, each into a folder of its own that counts only once it is whole. One process
then moves the folders into the dataset, in an order that does not depend on the workers, and writes the files that
make it a dataset last. A converter that is killed at any time is run again and goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vla_core.actions.action_space import ActionSpace
from vla_core.geometry import FloatArray, Pose
from vla_core.robot_spec import RobotSpec
from vla_core.types import Observation
from vla_training.datasets.splits import Split


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What is the same for every frame of a dataset.

    Attributes:
        spec: The robot.
        action_space: Meaning of the actions.
        period_s: Seconds between two frames.
    """

    spec: RobotSpec
    action_space: ActionSpace
    period_s: float


@dataclass(frozen=True, eq=False)
class DemonstrationFrame:
    """One tick of a demonstration.

    Attributes:
        observation: What the live node would have observed at the tick.
        pose_target_in_base: Pose that the action leads to.
        action: (7,) float64. Columns 0-5 are the normalised motion, clipped to [-1, 1]; column 6 is the
            ``gripper_open`` that is asked for, 0 or 1.
        gripper_before: The ``gripper_open`` that was asked for until this tick, 0 or 1.
        instruction: The sentence that is demonstrated at this tick; never empty.
        is_last: The last frame of its episode: no action follows, it asks to stay.
    """

    observation: Observation
    pose_target_in_base: Pose
    action: FloatArray
    gripper_before: float
    instruction: str
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class FramesBegin:
    """What is known of an episode before its first frame.

    Attributes:
        key: Name of the episode, unique in the dataset; fit for a file name.
        num_frames: How many frames will be added, if no picture is found to be damaged.
    """

    key: str
    num_frames: int


class EpisodeWriter(Protocol):
    """Streams the frames of episodes into folders, one after the other; holds no more than a few frames."""

    def begin(self, folder: Path, episode: FramesBegin) -> None:
        """Start an episode in an existing empty folder."""

    def add(self, frame: DemonstrationFrame) -> None:
        """Write the next frame."""

    def finish(self) -> Mapping[str, Any]:
        """End the episode; return what ``DatasetFormat`` must know of it later, as plain JSON data."""

    def abort(self) -> None:
        """End without a result; the folder is removed by the caller. May be called at any time."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Consecutive frames with one sentence.

    Attributes:
        first: Number of its first frame, counted from the beginning of its episode.
        last: Number of its last frame.
        instruction: The sentence.
    """

    first: int
    last: int
    instruction: str


@dataclass(frozen=True, kw_only=True)
class StoredEpisode:
    """An episode of a dataset: unbroken frames at equal spacing.

    Attributes:
        key: Its name.
        split: Where it belongs.
        index: Its number in that split, from 0 and without gaps.
        first_frame: Number of its first frame in that split; episodes follow each other without gaps.
        num_frames: How many frames it has.
        stretches: Its sentences, in order; together they hold every frame.
        facts: What ``EpisodeWriter.finish`` returned.
    """

    key: str
    split: Split
    index: int
    first_frame: int
    num_frames: int
    stretches: tuple[Stretch, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def source_key(self) -> str:
        """Key of the recorded episode that it is a piece of."""
        return self.key.rpartition("_")[0]


class FrameSink(Protocol):
    """What is shown the frames of episodes."""

    def writer(self) -> EpisodeWriter:
        """Return a new writer, for use in one process."""


class DatasetFormat(FrameSink, Protocol):
    """A dataset's layout on disk."""

    def place(self, folder: Path, out: Path, episode: StoredEpisode) -> None:
        """Move an episode's files from its folder into the dataset.

        Repeated after a kill: what was moved before is left as it is.
        """

    def write_index(self, out: Path, episodes: Sequence[StoredEpisode]) -> None:
        """Write the files that make ``out`` a dataset of these episodes, each at once or not at all.

        Called when all episodes are in place, again each time that episodes were appended.
        """
