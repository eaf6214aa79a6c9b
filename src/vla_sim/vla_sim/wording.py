# SPDX-License-Identifier: Apache-2.0
"""A sentence as people say and type it: courtesies around it, an article left out, a capital, a full stop."""

import re

import numpy as np

_BEFORE = ("please", "now", "could you", "can you", "ok,", "then", "next", "go and", "robot,", "i want you to")
_AFTER = (
    "please",
    "now",
    "for me",
    "on the table",
    "over there",
    "carefully",
    "if you can",
    "at once",
    "with the arm",
)
_AROUND_SHARE, _ARTICLE_SHARE, _CAPITAL_SHARE, _STOP_SHARE = 0.2, 0.15, 0.2, 0.2


def worded(sentence: str, rng: np.random.Generator) -> str:
    """Return a sentence that asks for the same in drawn words; about a third of them stay as they are.

    Args:
        sentence: Lower case, without a full stop.
        rng: Of what is drawn.
    """
    before, after, article, capital, stop = rng.random(5)
    first, last = str(rng.choice(_BEFORE)), str(rng.choice(_AFTER))
    if article < _ARTICLE_SHARE:
        sentence = re.sub(r"\bthe ", "", sentence)
    if before < _AROUND_SHARE:
        sentence = f"{first} {sentence}"
    if after < _AROUND_SHARE:
        sentence = f"{sentence} {last}"
    if capital < _CAPITAL_SHARE:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + ("." if stop < _STOP_SHARE else "")


def bare(sentence: str) -> str:
    """Return what is left of a sentence without what ``worded`` may have put in, and without articles.

    Sentences that ``worded`` makes of one sentence have one bare sentence.
    """
    left = sentence.lower().rstrip(" .?!")
    for words, pattern in ((_BEFORE, r"^(?:{})\s+"), (_AFTER, r"\s+(?:{})$")):
        around = re.compile(pattern.format("|".join(map(re.escape, words))))
        while (shorter := around.sub("", left)) != left:
            left = shorter
    return re.sub(r"\bthe ", "", left)
