# SPDX-License-Identifier: Apache-2.0
"""``episode.yaml`` in the folder of a bag: what the demonstration in it shows, as a person has said it last.

A bag is not rewritten when a person corrects a sentence or an outcome: this file is, at once or not at all. What a
bag was recorded with (robot spec, first sentence, versions) is also embedded in the bag itself.
"""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from vla_core.config import load_config, to_plain
from vla_core.instruction import clean_instruction

EPISODE_FILE = "episode.yaml"
INSTRUCTION_TOPIC = "/vla/instruction"
EPISODE_TOPIC = "/vla/episode"

Outcome = Literal["unknown", "success", "failure"]


@dataclass(frozen=True, kw_only=True)
class EpisodeRecord:
    """One recorded demonstration.

    Attributes:
        robot: Name of the robot spec that it was recorded with.
        instruction: The sentence that it shows.
        outcome: Whether it reached what the sentence asks for.
        discarded: A person does not want it used.
        note: What a person wants to remember.
        started_ns: When it began, nanoseconds of the recorder's clock.
        ended_ns: When it ended; ``None`` while it is recorded, and for ever when the recorder was killed.
        versions: Name to version of what recorded it.
    """

    robot: str
    instruction: str
    outcome: Outcome = "unknown"
    discarded: bool = False
    note: str = ""
    started_ns: int
    ended_ns: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clean_instruction(self.instruction)

    @classmethod
    def load(cls, bag: Path | str) -> "EpisodeRecord | None":
        """Return the record in a bag's folder; ``None`` when there is none.

        Raises:
            ConfigError: The file does not describe an episode.
        """
        path = Path(bag) / EPISODE_FILE
        return load_config(path, cls) if path.exists() else None

    def save(self, bag: Path | str) -> None:
        """Write the record into a bag's folder, at once or not at all."""
        text = yaml.safe_dump(to_plain(self), sort_keys=False, allow_unicode=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=bag, prefix=f".{EPISODE_FILE}.", delete=False
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        Path(file.name).replace(Path(bag) / EPISODE_FILE)
