# SPDX-License-Identifier: Apache-2.0
"""What is wrong, or worth knowing, about a dataset: one sentence each, with its place."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["bad", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("bad", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding.

    Attributes:
        severity: ``bad`` must be mended, ``warning`` looked at, ``note`` known.
        kind: One word for what it is.
        split: Where.
        text: The sentence.
        episode: Number of the episode; ``None`` for the whole split.
        frame: Number of the frame in the episode; ``None`` for all of it.
    """

    severity: Severity
    kind: str
    split: str
    text: str
    episode: int | None = None
    frame: int | None = None

    @property
    def where(self) -> str:
        """Its place in words."""
        parts = [self.split]
        if self.episode is not None:
            parts.append(f"episode {self.episode}")
        if self.frame is not None:
            parts.append(f"frame {self.frame}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Place:
    """An episode, to say something about.

    Attributes:
        split: Its split.
        episode: Its number.
    """

    split: str
    episode: int

    def finding(self, severity: Severity, kind: str, text: str, frame: int | None = None) -> Finding:
        """Return a finding there."""
        return Finding(
            severity=severity, kind=kind, split=self.split, text=text, episode=self.episode, frame=frame
        )
