# SPDX-License-Identifier: Apache-2.0
"""Which sentence is demonstrated at each tick of an episode, and who said so.

First of: the flag, the file of sentences, ``episode.yaml``, the marker, the instruction topic. The first two hold
for the whole episode. After the next two a new sentence on the instruction topic inside the episode still counts:
it is then a demonstration of several sentences.
"""

from collections.abc import Sequence

from vla_core.instruction import clean_instruction
from vla_training.bags.raw_message import BagError
from vla_training.conversion.bag_labels import BagLabels
from vla_training.conversion.config import ConversionConfig
from vla_training.conversion.said import Said
from vla_training.conversion.segments import Segment


def sentences_of(
    segment: Segment,
    number: int,
    num_segments: int,
    stamps_ns: Sequence[int],
    *,
    said: Said,
    labels: BagLabels,
    config: ConversionConfig,
    is_recorded_whole: bool,
) -> tuple[list[str], str]:
    """Return the sentence at each tick, empty for none, and where it comes from.

    Args:
        segment: The episode.
        number: Its number in the bag.
        num_segments: How many episodes the bag has.
        stamps_ns: Its ticks.
        said: What was said while the bag was recorded.
        labels: What people wrote about the bag.
        config: May hold the sentence of everything.
        is_recorded_whole: ``episode.yaml`` speaks of this episode.

    Raises:
        BagError: The file of sentences has another number of sentences than the bag has episodes.
    """
    if config.instruction:
        return [config.instruction] * len(stamps_ns), "flag"
    written = _written(segment, number, num_segments, labels)
    if written:
        return [written] * len(stamps_ns), "file of sentences"
    base, source = segment.instruction or "", "marker"
    if is_recorded_whole and labels.record is not None and labels.record.instruction:
        base, source = clean_instruction(labels.record.instruction), "episode.yaml"
    if not base:
        return [said.instruction_at(stamp_ns) or "" for stamp_ns in stamps_ns], "instruction topic"
    changes = _changes(segment, base, said)
    if changes:
        source += ", then instruction topic"
    return [_at(stamp_ns, base, changes) for stamp_ns in stamps_ns], source


def _written(segment: Segment, number: int, num_segments: int, labels: BagLabels) -> str | None:
    if labels.ranges:
        return segment.instruction
    if len(labels.sentences) > 1 and len(labels.sentences) != num_segments:
        raise BagError(
            f"the file of sentences has {len(labels.sentences)} for this bag, which has {num_segments} episodes. "
            "Write one, or one for each"
        )
    return labels.sentences[number if len(labels.sentences) > 1 else 0] if labels.sentences else None


def _changes(segment: Segment, base: str, said: Said) -> list[tuple[int, str]]:
    """Return the changes of the instruction inside an episode; its own sentence, said again at first, is none."""
    changes: list[tuple[int, str]] = []
    for received_ns, sentence in said.instructions:
        inside = segment.start_ns < received_ns <= segment.end_ns
        if inside and (changes or sentence not in (base, segment.instruction)):
            changes.append((received_ns, sentence))
    return changes


def _at(stamp_ns: int, base: str, changes: Sequence[tuple[int, str]]) -> str:
    before = [sentence for received_ns, sentence in changes if received_ns <= stamp_ns]
    return before[-1] if before else base
