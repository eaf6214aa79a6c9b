# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run as directories that the policy node loads."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from vla_core.checkpoint import Checkpoint, save_checkpoint
from vla_training.training.ema import MovingAverage


def save_bundle(
    fabric: Fabric,
    module: nn.Module,
    start: Checkpoint,
    directory: Path,
    *,
    average: MovingAverage | None,
    training: Mapping[str, Any],
    results: Mapping[str, float],
) -> None:
    """Write the weights as they are now as a checkpoint, in one process; the others wait.

    Args:
        fabric: The processes.
        module: The objective as it is trained.
        start: The checkpoint that the run began with; its model holds the weights.
        directory: Where; what is there is replaced.
        average: Moving average to save instead of the weights.
        training: Resolved settings of the run.
        results: Numbers that it reached.
    """
    with _whole_weights(module), average.in_place() if average else nullcontext():
        if fabric.is_global_zero:
            trained = replace(start, card=replace(start.card, is_trained=True), training=training)
            save_checkpoint(trained, directory, results=results, overwrite=True)
    fabric.barrier()


def _whole_weights(module: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which weights that are spread over processes are whole in the first one."""
    if any(isinstance(part, FullyShardedDataParallel) for part in module.modules()):
        return FullyShardedDataParallel.summon_full_params(
            module, writeback=False, rank0_only=True, offload_to_cpu=True
        )
    return nullcontext()
