# SPDX-License-Identifier: Apache-2.0
"""All trials of an evaluation: shared out over processes, resumable, a row per trial."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from vla_core.checkpoint import load_checkpoint
from vla_core.errors import VlaError
from vla_core.model.device import device_named
from vla_core.policy import BatchedPolicy
from vla_training.evaluation.run_journal import checkpoint_identity, open_run
from vla_training.evaluation.tabletop.results import TrialResult, digest_of_trial, result_of_row
from vla_training.evaluation.tabletop.rollout import BatchPolicy, Row, roll_out
from vla_training.evaluation.tabletop.simulator import Simulator, Trial, World, plain
from vla_training.evaluation.worker_pool import run_in_processes

JOURNAL = "trials.jsonl"
_ROUNDS = 2  # trials that a world of a worker process does before their rows are sent


class PolicyMaker(Protocol):
    """Makes the policy of one process; picklable."""

    def __call__(self, num_worlds: int) -> BatchPolicy:
        """Return a policy for so many worlds."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers what they are, as plain data."""


@dataclass(frozen=True)
class CheckpointPolicy:
    """Makes the policy of a checkpoint.

    Attributes:
        checkpoint: Checkpoint directory.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    checkpoint: Path
    device: str = "auto"

    def __call__(self, num_worlds: int) -> BatchedPolicy:
        """Return a policy for so many worlds."""
        return BatchedPolicy(load_checkpoint(self.checkpoint, device_named(self.device)), num_worlds)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers what they are."""
        return dict(checkpoint_identity(self.checkpoint))


@dataclass(frozen=True)
class Bench:
    """Does trials in this process and others.

    Attributes:
        policy: Makes the policies.
        simulator: Makes worlds and referees.
        batch: K, worlds side by side in each process.
        processes: How many.
    """

    policy: PolicyMaker
    simulator: Simulator
    batch: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1 or self.processes < 1:
            raise VlaError(f"batch and processes must be at least 1, found {self.batch} and {self.processes}")

    def __call__(self, trials: Sequence[Trial]) -> Generator[Row, None, None]:
        """Yield the rows of trials as they are over; from several processes a few at a time."""
        if self.processes == 1:
            groups = [list(trials)]
        else:
            size = min(self.batch * _ROUNDS, -(-len(trials) // self.processes))
            groups = [list(trials[at : at + size]) for at in range(0, len(trials), size)]
        make_worker = _MakeWorker(self, as_list=self.processes > 1)
        for rows in run_in_processes(make_worker, groups, processes=self.processes):
            yield from rows


@dataclass(frozen=True)
class _MakeWorker:
    """Builds what a process needs. Rows of another process come as a list, those of this one at once."""

    bench: Bench
    as_list: bool

    def __call__(self) -> Callable[[list[Trial]], Iterable[Row]]:
        bench = self.bench
        policy = bench.policy(bench.batch)
        worlds = [bench.simulator.world(policy.contract) for _ in range(bench.batch)]

        def work(trials: list[Trial]) -> Iterable[Row]:
            rows = roll_out(policy, bench.simulator, worlds, trials)
            return list(rows) if self.as_list else _closing(rows, worlds)

        return work


def _closing(rows: Iterable[Row], worlds: Sequence[World]) -> Iterator[Row]:
    try:
        yield from rows
    finally:
        for world in worlds:
            world.close()


def evaluate_tabletop(
    rows_of: Callable[[Sequence[Trial]], Generator[Row, None, None]],
    trials: Sequence[Trial],
    out: Path,
    identity: Mapping[str, Any],
    *,
    show_progress: bool = False,
) -> list[TrialResult]:
    """Return how each trial went, in their order; what an earlier run has done is not done again.

    Args:
        rows_of: Does trials and yields a row for each: a ``Bench``, or the robot behind its topics.
        trials: What to do.
        out: Folder that gets ``trials.jsonl``, one row per trial, on the disk as soon as it is over.
        identity: What must be the same for a run to go on.
        show_progress: Draw a bar with the time that is left and the share of successes so far.

    Raises:
        VlaError: The folder belongs to another run, or policy or simulator cannot be used.
    """
    wanted = {digest_of_trial(plain(trial)): trial for trial in trials}
    journal, rows = open_run(out / JOURNAL, {"kind": "tabletop", **identity}, ("id", "trial", "legs", "guard"))
    with journal, ExitStack() as stack:
        done = {row["id"]: result_of_row(row) for row in rows if row["id"] in wanted}
        left = [trial for name, trial in wanted.items() if name not in done]
        with tqdm(total=len(wanted), initial=len(done), unit="trial", disable=not show_progress) as bar:
            for row in stack.enter_context(closing(rows_of(left))) if left else ():
                name = digest_of_trial(row["trial"])
                journal.append({"id": name, **row})
                done[name] = result_of_row(row)
                share = sum(bool(result.successes) for result in done.values()) / len(done)
                bar.set_postfix_str(f"{share:.0%} with success")
                bar.update()
    return [done[name] for name in wanted]
