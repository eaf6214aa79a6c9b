# SPDX-License-Identifier: Apache-2.0
"""What people wrote about a bag beside it: ``episode.yaml``, and a file of sentences for many bags."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from vla_core.config import build, read_yaml, to_plain
from vla_core.episode_record import EpisodeRecord
from vla_core.errors import ConfigError, InstructionError
from vla_core.instruction import clean_instruction
from vla_training.bags.bag_folder import Bag


@dataclass(frozen=True, kw_only=True)
class Range:
    """An explicit episode.

    Attributes:
        start_s: Its beginning, seconds after the first message of the bag.
        end_s: Its end.
        instruction: Its sentence; ``None`` looks for it elsewhere.
    """

    start_s: float
    end_s: float
    instruction: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"start_s {self.start_s:g} must be at least 0 and below end_s {self.end_s:g}")


@dataclass(frozen=True, kw_only=True)
class BagLabels:
    """What people wrote about one bag.

    Attributes:
        record: ``episode.yaml``, where there is one.
        sentences: One for the whole bag, or one for each of its episodes in order; empty for none.
        ranges: Its episodes; empty for none.
    """

    record: EpisodeRecord | None = None
    sentences: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits that change when a label does."""
        plain = to_plain(self)
        if plain["record"] is not None:  # these two do not change what is converted
            del plain["record"]["note"], plain["record"]["versions"]
        return hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=4).hexdigest()


class SentencesFile:
    """A YAML file: name of a bag to a sentence, a list of sentences, or a list of ranges.

    Args:
        path: The file; ``None`` for an empty one.

    Raises:
        ConfigError: The file does not say that.
    """

    def __init__(self, path: Path | None) -> None:
        data = {} if path is None else read_yaml(path)
        if not isinstance(data, Mapping):
            raise ConfigError(f"{path}: expected a mapping of bag names, found {data!r}")
        self._labels = {str(name): _labels(entry, f"{path}: {name}") for name, entry in data.items()}

    @property
    def names(self) -> frozenset[str]:
        """The bags that it speaks of."""
        return frozenset(self._labels)

    def labels_of(self, bag: Bag) -> BagLabels:
        """Return what is known of a bag, together with its ``episode.yaml``.

        Raises:
            ConfigError: ``episode.yaml`` does not describe an episode.
        """
        own = self._labels.get(bag.name, BagLabels())
        return BagLabels(record=EpisodeRecord.load(bag.folder), sentences=own.sentences, ranges=own.ranges)


def _labels(entry: Any, where: str) -> BagLabels:
    if isinstance(entry, str):
        return BagLabels(sentences=(_sentence(entry, where),))
    if not isinstance(entry, list) or not entry:
        raise ConfigError(
            f"{where}: expected a sentence, a list of sentences or a list of ranges, found {entry!r}"
        )
    if all(isinstance(item, str) for item in entry):
        return BagLabels(sentences=tuple(_sentence(item, where) for item in entry))
    ranges = tuple(build(Range, item, f"{where}[{number}]") for number, item in enumerate(entry))
    ordered = sorted(ranges, key=lambda own: own.start_s)
    for before, after in pairwise(ordered):
        if after.start_s < before.end_s:
            raise ConfigError(f"{where}: the ranges from {before.start_s:g} s and {after.start_s:g} s overlap")
    return BagLabels(ranges=tuple(_with_clean_sentence(own, where) for own in ordered))


def _with_clean_sentence(own: Range, where: str) -> Range:
    return own if own.instruction is None else replace(own, instruction=_sentence(own.instruction, where))


def _sentence(text: str, where: str) -> str:
    try:
        sentence = clean_instruction(text)
    except InstructionError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not sentence:
        raise ConfigError(f"{where}: the sentence is empty; write one, or leave the bag out")
    return sentence
