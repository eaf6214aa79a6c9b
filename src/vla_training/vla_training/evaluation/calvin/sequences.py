# SPDX-License-Identifier: Apache-2.0
"""The sequences of CALVIN's long-horizon protocol: where the scene begins, and five subtasks that can follow.

They are drawn as CALVIN's ``get_sequences`` draws them (mees/calvin, ``multistep_sequences.py``), with the same
random numbers and so with the same result. A file of sequences, as RoboVLMs uses one, is read instead when given.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np

from vla_core.errors import VlaError

NUM_SUBTASKS = 5
NUM_OFFICIAL = 1000

State = Mapping[str, int | str]
_Change = tuple[dict[str, Any], dict[str, Any]]

_COLOURS = ("red", "blue", "pink")
_SLIDER_PLACES = ("slider_right", "slider_left")
_FREE = {"grasped": 0}
_START_VALUES: dict[str, tuple[int | str, ...]] = {
    "led": (0, 1),
    "lightbulb": (0, 1),
    "slider": ("right", "left"),
    "drawer": ("closed", "open"),
    "red_block": ("table", *_SLIDER_PLACES),
    "blue_block": ("table", *_SLIDER_PLACES),
    "pink_block": ("table", *_SLIDER_PLACES),
    "grasped": (0,),
}


@dataclass(frozen=True)
class CalvinSequence:
    """One sequence.

    Attributes:
        start: Where lights, slider, drawer and blocks are at its beginning.
        subtasks: Names of what is asked, one after the other.
    """

    start: State
    subtasks: tuple[str, ...]


def official_sequences(count: int = NUM_OFFICIAL) -> tuple[CalvinSequence, ...]:
    """Return the sequences that CALVIN's own evaluator draws when it is asked for ``count`` of them.

    Another count gives other sequences, not the first of these: published numbers are those of 1000.
    """
    starts = list(_starts())
    shares = [len(part) for part in np.array_split(range(count), len(starts))]
    drawn = [
        CalvinSequence(start, subtasks)
        for seed, (start, share) in enumerate(zip(starts, shares, strict=True))
        for subtasks in _draw(start, share, seed)
    ]
    order = list(range(len(drawn)))
    np.random.RandomState(0).shuffle(order)
    return tuple(drawn[place] for place in order)


def read_sequences(path: Path) -> tuple[CalvinSequence, ...]:
    """Return the sequences of a JSON file: a list of [start, [five subtasks]].

    Raises:
        VlaError: It is not such a file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        sequences = tuple(CalvinSequence(dict(start), tuple(map(str, subtasks))) for start, subtasks in data)
    except OSError as error:
        raise VlaError(f"{path}: cannot be read: {error.strerror}. Give a file of sequences") from error
    except (ValueError, TypeError) as error:
        raise VlaError(f"{path}: not a list of [start, [subtasks]] in JSON ({error})") from error
    for number, sequence in enumerate(sequences):
        if set(sequence.start) != set(_START_VALUES) or not sequence.subtasks:
            raise VlaError(f"{path}: sequence {number} needs a start with {sorted(_START_VALUES)} and subtasks")
    return sequences


def _starts() -> Iterator[State]:
    """Yield each scene with one or two blocks on the table and no two at one end of the slider."""
    for values in product(*_START_VALUES.values()):
        if values.count("table") in (1, 2) and all(values.count(place) < 2 for place in _SLIDER_PLACES):
            yield dict(zip(_START_VALUES, values, strict=True))


def _draw(start: State, count: int, seed: int) -> list[tuple[str, ...]]:
    random = np.random.RandomState(seed)
    names, found = list(SUBTASKS), list[tuple[str, ...]]()
    while len(found) < count:
        places = random.permutation(len(names))[:NUM_SUBTASKS]  # as choice(names, size, replace=False) does
        subtasks = tuple(names[place] for place in places.tolist())
        if _is_possible(start, subtasks):
            found.append(subtasks)
    return found


def _is_possible(start: State, subtasks: tuple[str, ...]) -> bool:
    """Return whether each subtask can be done in exactly one way after the one before, and none is of one kind."""
    if len({_KINDS[name] for name in subtasks}) < len(subtasks):
        return False
    state = dict(start)
    for name in subtasks:
        effects = [effect for condition, effect in SUBTASKS[name] if _holds(condition, state)]
        if len(effects) != 1:
            return False
        state |= effects[0]
    return True


def _holds(condition: Mapping[str, Any], state: State) -> bool:
    return all(
        state[key] in wanted if isinstance(wanted, tuple) else state[key] == wanted
        for key, wanted in condition.items()
    )


def _kind(name: str) -> str:
    """Return the group of similar subtasks, of which a sequence holds one."""
    words = name.split("_")
    if words[0] in ("rotate", "push") and words[-1] in ("right", "left"):
        return "move a block"
    if words[0] == "lift":
        return f"lift from {words[-1]}"
    if words[0] == "place":
        return "place"
    if words[0] == "turn":
        return "light"
    return "slider" if "slider" in name else "drawer" if name in ("open_drawer", "close_drawer") else name


def _on_table(colour: str) -> list[_Change]:
    return [({f"{colour}_block": "table", **_FREE}, {})]


def _lift(colour: str, place: str) -> list[_Change]:
    block, held = f"{colour}_block", {f"{colour}_block": "grasped", "grasped": 1}
    if place == "slider":
        return [
            ({block: "slider_left", "slider": "right", **_FREE}, held),
            ({block: "slider_right", "slider": "left", **_FREE}, held),
        ]
    return [({block: place, **({"drawer": "open"} if place == "drawer" else {}), **_FREE}, held)]


def _put(colour: str, part: str, value: str, place: str) -> _Change:
    block = f"{colour}_block"
    return {block: "grasped", part: value, "grasped": 1}, {block: place, "grasped": 0}


def _stack(upper: str, lower: str) -> _Change:
    return (
        {f"{upper}_block": "grasped", f"{lower}_block": "table", "grasped": 1},
        {f"{upper}_block": "stacked_top", f"{lower}_block": "stacked_bottom", "grasped": 0},
    )


def _unstack(upper: str, lower: str) -> _Change:
    return (
        {f"{upper}_block": "stacked_top", f"{lower}_block": "stacked_bottom", **_FREE},
        {f"{upper}_block": "table", f"{lower}_block": "table"},
    )


def _push_in(colour: str) -> _Change:
    others = {f"{other}_block": _SLIDER_PLACES for other in _COLOURS if other != colour}
    block = f"{colour}_block"
    return {block: "table", **others, "drawer": "open", **_FREE}, {block: "drawer", "grasped": 0}


def _switch(part: str, before: int | str, after: int | str) -> list[_Change]:
    return [({part: before, **_FREE}, {part: after})]


def _subtasks() -> dict[str, list[_Change]]:
    """Return each subtask's ways: (what must hold, what it changes). The order is that of CALVIN's list."""
    pairs = list(permutations(_COLOURS, 2))
    moves = [(verb, colour) for verb in ("rotate", "push") for colour in _COLOURS]
    return {
        **{f"{verb}_{c}_block_{side}": _on_table(c) for verb, c in moves for side in ("right", "left")},
        "move_slider_left": _switch("slider", "right", "left"),
        "move_slider_right": _switch("slider", "left", "right"),
        "open_drawer": _switch("drawer", "closed", "open"),
        "close_drawer": _switch("drawer", "open", "closed"),
        **{
            f"lift_{c}_block_{place}": _lift(c, place) for c in _COLOURS for place in ("table", "slider", "drawer")
        },
        "place_in_slider": [
            _put(c, "slider", side, f"slider_{side}") for c in _COLOURS for side in ("right", "left")
        ],
        "place_in_drawer": [_put(c, "drawer", "open", "drawer") for c in _COLOURS],
        "stack_block": [_stack(upper, lower) for upper, lower in pairs],
        "unstack_block": [_unstack(upper, lower) for upper, lower in pairs],
        "turn_on_lightbulb": _switch("lightbulb", 0, 1),
        "turn_off_lightbulb": _switch("lightbulb", 1, 0),
        "turn_on_led": _switch("led", 0, 1),
        "turn_off_led": _switch("led", 1, 0),
        "push_into_drawer": [_push_in(c) for c in _COLOURS],
    }


SUBTASKS = _subtasks()
_KINDS = {name: _kind(name) for name in SUBTASKS}
