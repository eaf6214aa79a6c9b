# SPDX-License-Identifier: Apache-2.0
"""Sentences that ask for nothing on this table. The right answer to them is to keep still."""

import numpy as np

_WORDS = (
    *(
        "banana",
        "yesterday",
        "weather",
        "music",
        "seven",
        "window",
        "happy",
        "because",
        "river",
        "guitar",
        "tomorrow",
    ),
    *(
        "what",
        "is",
        "the",
        "a",
        "of",
        "my",
        "very",
        "and",
        "never",
        "sing",
        "dance",
        "think",
        "about",
        "green",
        "cloud",
    ),
    *(
        "coffee",
        "please",
        "hello",
        "world",
        "train",
        "mountain",
        "who",
        "why",
        "story",
        "paper",
        "letter",
        "to",
        "in",
    ),
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
HELD_OUT_NONSENSE = (
    "what a lovely morning",
    "tell me a story about the river",
    "flurble grommet zint",
    "xqz vrrt plim",
    "the weather in paris is happy",
)
"""Kept for tests: no demonstration shows them."""


def nonsense(rng: np.random.Generator) -> str:
    """Return a drawn sentence without meaning: words in no order, or letters."""
    if rng.random() < 0.5:
        return " ".join(rng.choice(_WORDS, rng.integers(2, 7)))
    return " ".join("".join(rng.choice(list(_LETTERS), rng.integers(2, 8))) for _ in range(rng.integers(1, 6)))
