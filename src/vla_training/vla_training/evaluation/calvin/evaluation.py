# SPDX-License-Identifier: Apache-2.0
"""CALVIN's long-horizon protocol over all sequences: shared out over processes, resumable, a row per sequence."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from vla_core.model.device import device_named
from vla_training.evaluation.calvin.model import CalvinModel
from vla_training.evaluation.calvin.rollout import (
    MAX_STEPS,
    CalvinWorld,
    SequenceResult,
    StepModel,
    run_sequence,
)
from vla_training.evaluation.calvin.sequences import CalvinSequence
from vla_training.evaluation.run_journal import checkpoint_identity, digest_of, open_run
from vla_training.evaluation.worker_pool import run_in_processes

JOURNAL = "sequences.jsonl"

_Item = tuple[int, CalvinSequence]


class ModelMaker(Protocol):
    """Makes the model of one process; picklable."""

    def __call__(self) -> StepModel:
        """Return the model."""

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers what they are, as plain data."""


@dataclass(frozen=True)
class CheckpointModel:
    """Makes the model of one process.

    Attributes:
        checkpoint: Checkpoint directory.
        device: ``auto``, ``cpu`` or ``cuda``.
        num_executed: Actions of each chunk that are executed.
    """

    checkpoint: Path
    device: str = "auto"
    num_executed: int = 1

    def __call__(self) -> CalvinModel:
        """Return the model."""
        return CalvinModel.load(self.checkpoint, device_named(self.device), num_executed=self.num_executed)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers what they are."""
        return {**checkpoint_identity(self.checkpoint), "num_executed": self.num_executed}


@dataclass(frozen=True)
class _MakeWorker:
    """Builds world and model of a process."""

    world: Callable[[], CalvinWorld]
    model: Callable[[], StepModel]
    max_steps: int

    def __call__(self) -> Callable[[_Item], SequenceResult]:
        model, world = self.model(), self.world()
        return lambda item: run_sequence(world, model, *item, self.max_steps)


def evaluate_calvin(
    model: ModelMaker,
    world: Callable[[], CalvinWorld],
    sequences: Sequence[CalvinSequence],
    out: Path,
    *,
    world_identity: str = "",
    max_steps: int = MAX_STEPS,
    processes: int = 1,
    show_progress: bool = False,
) -> list[SequenceResult]:
    """Return how each sequence went, in their order; what an earlier run has done is not done again.

    Args:
        model: Makes the model of each process.
        world: Makes the simulator of each process; picklable when there are several.
        sequences: What to do.
        out: Folder that gets ``sequences.jsonl``, one row per sequence, on the disk as soon as it has ended.
        world_identity: What tells the simulator's pictures from others, such as its renderer.
        max_steps: Steps that a subtask may take.
        processes: How many work side by side.
        show_progress: Draw a bar with the time that is left and the numbers so far.

    Raises:
        VlaError: The folder belongs to another run, or model or simulator cannot be used.
    """
    done: dict[int, SequenceResult] = {}
    identity = {"kind": "calvin", "max_steps": max_steps, "world": world_identity, **model.identity}
    keys = [*(own.name for own in fields(SequenceResult)), "sequence"]
    journal, rows = open_run(out / JOURNAL, identity, keys)
    with journal:
        for row in rows:
            number = row["number"]
            if number < len(sequences) and row["sequence"] == _digest(sequences[number]):
                done[number] = _result(row)
        left = [(number, sequence) for number, sequence in enumerate(sequences) if number not in done]
        make_worker = _MakeWorker(world, model, max_steps)
        with tqdm(total=len(sequences), initial=len(done), unit="sequence", disable=not show_progress) as bar:
            for result in run_in_processes(make_worker, left, processes=processes):
                journal.append({**asdict(result), "sequence": _digest(sequences[result.number])})
                done[result.number] = result
                bar.set_postfix_str(f"Avg. Len {sum(r.successes for r in done.values()) / len(done):.2f}")
                bar.update()
    return [done[number] for number in range(len(sequences))]


def _digest(sequence: CalvinSequence) -> str:
    return digest_of(json.dumps([dict(sequence.start), list(sequence.subtasks)]))


def _result(row: dict[str, Any]) -> SequenceResult:
    return SequenceResult(
        number=row["number"],
        subtasks=tuple(row["subtasks"]),
        steps=tuple(row["steps"]),
        successes=row["successes"],
    )
