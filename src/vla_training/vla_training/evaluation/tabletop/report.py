# SPDX-License-Identifier: Apache-2.0
"""Results of the tabletop as numbers: each task, each phrasing, chains, sentence against what happened."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vla_training.evaluation.statistics import Estimate, mean_with_interval, wilson
from vla_training.evaluation.tabletop.plan import CHAIN_LENGTH, CHAINS, CONFUSION, TASKS
from vla_training.evaluation.tabletop.results import Leg, TrialResult

NONE = "none"
Counts = tuple[int, int]
"""Done and tried."""


@dataclass(frozen=True)
class Confusion:
    """What was said against what happened first.

    Attributes:
        said: Task that was asked for, or a sentence without meaning in quotes.
        happened: Tasks, then ``none``.
        counts: Row for each of ``said``, column for each of ``happened``.
    """

    said: tuple[str, ...]
    happened: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def of_kind(results: Iterable[TrialResult], kind: str) -> list[TrialResult]:
    """Return the results that count for one thing."""
    return [result for result in results if result.kind == kind]


def counted(legs: Iterable[Leg], by: str) -> dict[Any, Counts]:
    """Return the value of a field to how often legs with it were done and tried, in the order of the legs."""
    tried, done = Counter[Any](), Counter[Any]()
    for leg in legs:
        tried[getattr(leg, by)] += 1
        done[getattr(leg, by)] += leg.success
    return {value: (done[value], number) for value, number in tried.items()}


def single_legs(results: Iterable[TrialResult]) -> list[Leg]:
    """Return the legs of single tasks."""
    return [result.legs[0] for result in of_kind(results, TASKS)]


def mean_over_tasks(results: Iterable[TrialResult]) -> float:
    """Return the mean of the tasks' success rates; NaN without any."""
    rates = [done / tried for done, tried in counted(single_legs(results), "task").values()]
    return float(np.mean(rates)) if rates else float("nan")


def overall(results: Iterable[TrialResult]) -> Estimate:
    """Return the share of single tasks that were done, with its Wilson interval."""
    legs = single_legs(results)
    return wilson(sum(leg.success for leg in legs), len(legs))


def mean_duration_s(legs: Iterable[Leg]) -> float | None:
    """Return the mean time of successes, or ``None``."""
    durations_s = [leg.duration_s for leg in legs if leg.success]
    return float(np.mean(durations_s)) if durations_s else None


def interventions(results: Iterable[TrialResult]) -> dict[str, int]:
    """Return stage of the guard to how often it acted."""
    total = Counter[str]()
    for result in results:
        total.update(result.guard)
    return dict(total)


def chain_rates(results: Iterable[TrialResult]) -> list[Estimate]:
    """Return SR_1 to SR_5: the share of chains with at least so many tasks done in a row."""
    chains = of_kind(results, CHAINS)
    counts = [sum(chain.successes >= place for chain in chains) for place in range(1, CHAIN_LENGTH + 1)]
    return [wilson(count, len(chains)) for count in counts]


def average_length(results: Iterable[TrialResult]) -> Estimate:
    """Return Avg. Len: how many tasks of a chain are done in a row, on average."""
    return mean_with_interval([chain.successes for chain in of_kind(results, CHAINS)])


def confusion(results: Iterable[TrialResult]) -> Confusion:
    """Return what was said against what happened first."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for result in of_kind(results, CONFUSION):
        leg = result.legs[0]
        table[leg.task or f'"{leg.sentence}"'][leg.first or NONE] += 1
    asked = [said for said in table if not said.startswith('"')]
    seen = {name for row in table.values() for name in row if name != NONE}
    happened = (*asked, *sorted(seen - set(asked)), NONE)
    said = (*asked, *(said for said in table if said.startswith('"')))
    return Confusion(said, happened, tuple(tuple(table[row][column] for column in happened) for row in said))


def obeyed(table: Confusion) -> tuple[Counts, Counts, Counts]:
    """Return three shares: the right task first, another task first, any task after a sentence without meaning."""
    right = wrong = asked = moved = spoken = 0
    for said, row in zip(table.said, table.counts, strict=True):
        by_name = dict(zip(table.happened, row, strict=True))
        if said.startswith('"'):
            spoken, moved = spoken + sum(row), moved + sum(row) - by_name[NONE]
        else:
            asked, right = asked + sum(row), right + by_name[said]
            wrong += sum(row) - by_name[said] - by_name[NONE]
    return (right, asked), (wrong, asked), (moved, spoken)


def tabletop_numbers(results: Sequence[TrialResult], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as plain data for JSON."""
    numbers: dict[str, Any] = {**facts, "trials": len(results), "guard": interventions(results)}
    if singles := single_legs(results):
        numbers["success_rate"] = overall(results).to_plain()
        numbers["mean_over_tasks"] = mean_over_tasks(results)
        numbers["mean_duration_s"] = mean_duration_s(singles)
        numbers["tasks"] = {name: _plain_rate(c) for name, c in counted(singles, "task").items()}
        for name, plain in numbers["tasks"].items():
            plain["mean_duration_s"] = mean_duration_s(leg for leg in singles if leg.task == name)
        numbers["phrasings"] = {
            "held_out" if is_held_out else "seen": _plain_rate(c)
            for is_held_out, c in counted(singles, "is_held_out").items()
        }
        numbers["sentences"] = {said: _plain_rate(c) for said, c in counted(singles, "sentence").items()}
    if chains := of_kind(results, CHAINS):
        rates = {f"SR_{place}": rate.to_plain() for place, rate in enumerate(chain_rates(results), start=1)}
        legs = [leg for chain in chains for leg in chain.legs]
        numbers["chains"] = {
            "chains": len(chains),
            "average_length": average_length(results).to_plain(),
            "success_rates": rates,
            "tasks": {name: _plain_rate(c) for name, c in counted(legs, "task").items()},
        }
    if of_kind(results, CONFUSION):
        table = confusion(results)
        right, wrong, moved = (_plain_rate(c) for c in obeyed(table))
        shares = {"right_task_first": right, "other_task_first": wrong, "task_without_meaning": moved}
        numbers["confusion"] = {**asdict(table), **shares}
    return numbers


def tabletop_summary(results: Sequence[TrialResult]) -> str:
    """Return the numbers in lines of text."""
    lines = [f"{name}  {wilson(*c).as_percent()}" for name, c in counted(single_legs(results), "task").items()]
    if lines:
        mean = f"{100 * mean_over_tasks(results):.1f} %"
        lines.append(f"mean over tasks  {mean}; all trials {overall(results).as_percent()}")
    if chains := of_kind(results, CHAINS):
        lines += [f"SR_{place}  {rate.as_percent()}" for place, rate in enumerate(chain_rates(results), start=1)]
        lines.append(f"Avg. Len  {average_length(results).as_number()} over {len(chains)} chains")
    if of_kind(results, CONFUSION):
        right, wrong, moved = obeyed(confusion(results))
        lines += [
            f"the task that was asked for came first  {wilson(*right).as_percent()}",
            f"another task came first  {wilson(*wrong).as_percent()}",
            f"a sentence without meaning led to a task  {wilson(*moved).as_percent()}",
        ]
    return "\n".join(lines)


def _plain_rate(counts: Counts) -> dict[str, Any]:
    done, tried = counts
    return {"done": done, "tried": tried, "success_rate": wilson(done, tried).to_plain()}
