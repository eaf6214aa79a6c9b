# SPDX-License-Identifier: Apache-2.0
"""Processes and devices of a run: one machine, torchrun, or SLURM."""

import os

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy, FSDPStrategy, Strategy

from vla_core.errors import ConfigError
from vla_core.model.config import Precision
from vla_training.training.settings import RunConfig

_PRECISION = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def launch(config: RunConfig, precision: Precision) -> Fabric:
    """Return the running processes of a run; this process is one of them.

    Started by torchrun or ``srun``, the processes are there already; otherwise they are started here.

    Raises:
        ConfigError: The strategy cannot be run on these devices.
    """
    if config.strategy == "fsdp" and not torch.cuda.is_available():
        raise ConfigError("run.strategy is fsdp, which needs GPUs; on processors use ddp")
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("run.accelerator is cuda, but torch finds no GPU; use auto or cpu")
    per_node, nodes = _world(config)
    fabric = Fabric(
        accelerator=config.accelerator,
        devices=per_node,
        num_nodes=nodes,
        strategy=_strategy(config, per_node * nodes),
        precision=_PRECISION[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _world(config: RunConfig) -> tuple[int, int]:
    """Return processes per node, and nodes."""
    environment = os.environ
    if "LOCAL_WORLD_SIZE" in environment and "TORCHELASTIC_RUN_ID" in environment:
        per_node = int(environment["LOCAL_WORLD_SIZE"])
        return per_node, int(environment["WORLD_SIZE"]) // per_node
    if "SLURM_NTASKS" in environment and "SLURM_PROCID" in environment:
        nodes = int(environment.get("SLURM_NNODES", "1"))
        return int(environment["SLURM_NTASKS"]) // nodes, nodes
    return config.processes, 1


def _strategy(config: RunConfig, num_processes: int) -> Strategy | str:
    if config.strategy == "fsdp":
        return FSDPStrategy(use_orig_params=True, state_dict_type="full")  # a part of the weights may be frozen
    if num_processes == 1:
        return "auto"
    # Backbones hold weights that a policy does not use, such as the scores of words.
    return DDPStrategy(find_unused_parameters=True)
