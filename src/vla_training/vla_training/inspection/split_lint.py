# SPDX-License-Identifier: Apache-2.0
"""Checks of a split as a whole, and of both together: sentences, unused frames, episodes that are there twice."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vla_training.datasets.frame_store import Annotation
from vla_training.inspection.episode_source import EpisodeSpan
from vla_training.inspection.findings import Finding, Severity

MUCH_UNUSED = 0.5


def lint_annotations(
    episodes: Sequence[EpisodeSpan], annotations: Sequence[Annotation], split: str
) -> Iterator[Finding]:
    """Yield that there is no episode, sentences that do not lie within one, how many frames have no sentence."""
    if not episodes:
        yield Finding(severity="bad", kind="empty", split=split, text="the split holds no episode")
    firsts = np.array([episode.first for episode in episodes], dtype=np.int64)
    lasts = np.array([episode.last for episode in episodes], dtype=np.int64)
    used = [np.zeros(len(episode), dtype=bool) for episode in episodes]
    for own in annotations:
        k = int(np.searchsorted(firsts, own.start, side="right")) - 1
        if k < 0 or own.start > lasts[k] or own.end > lasts[k]:
            text = (
                f"'{own.instruction}' is said of frames {own.start} to {own.end}, which lie in no episode or in "
                "two: a window would cross the gap"
            )
            yield Finding(severity="bad", kind="annotation", split=split, text=text)
            continue
        used[k][own.start - firsts[k] : own.end - firsts[k] + 1] = True
        if not own.instruction.strip():
            yield Finding(severity="bad", kind="annotation", split=split, text="a sentence is empty", episode=k)
    unused = sum(int((~each).sum()) for each in used)
    total = sum(len(each) for each in used)
    if unused:
        severity: Severity = "warning" if unused > MUCH_UNUSED * total else "note"
        text = f"{unused} of {total} frames ({unused / total:.0%}) have no sentence: training does not use them"
        yield Finding(severity=severity, kind="unused", split=split, text=text)


def lint_copies(prints: Mapping[str, Sequence[bytes]]) -> Iterator[Finding]:
    """Yield episodes that are there twice.

    Args:
        prints: Split to the fingerprints of its episodes, in order.
    """
    for split, own in prints.items():
        seen: dict[bytes, int] = {}
        for episode, mark in enumerate(own):
            if mark in seen:
                text = f"equal to episode {seen[mark]}, frame by frame: it counts twice"
                yield Finding(severity="warning", kind="copy", split=split, text=text, episode=episode)
            seen.setdefault(mark, episode)
    training = {mark: episode for episode, mark in enumerate(prints.get("training", ()))}
    for episode, mark in enumerate(prints.get("validation", ())):
        if mark in training:
            text = f"equal to episode {training[mark]} of training: validation tells nothing about new episodes"
            yield Finding(severity="bad", kind="leak", split="validation", text=text, episode=episode)
