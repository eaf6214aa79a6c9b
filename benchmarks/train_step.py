# SPDX-License-Identifier: Apache-2.0
"""How long one training step takes, against RoboVLMs' own step on the same weights and batch, in the same run.

Usage: python benchmarks/train_step.py [--sizes tiny base real] [--batch-size 2] [--steps 5] [--threads 2]

A step is: the batch from the loader to the device, forward, backward, clipping (RoboVLMs asks for it and does not
do it), AdamW. Window 8, chunk 10, two cameras. ``tiny`` is what the demonstration runs, ``base`` has 0.3 B
parameters. Before timing, loss and gradients of both are compared in float32 without dropout. Each row runs in a
process of its own, so that its peak memory is its own; 16-mixed is measured on a GPU alone, where it exists.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from policy_step import build_checkpoint
from robovlms_training import RoboVlmsTraining
from torch import Tensor

from vla_core.checkpoint import Checkpoint
from vla_training.datasets.batches import WindowBatch, collate, pictures_to_device, target_chunks
from vla_training.datasets.window_dataset import WindowSample
from vla_training.training.model_inputs import model_inputs
from vla_training.training.objective import Objective
from vla_training.training.optimizer import build_optimizer
from vla_training.training.settings import OptimizationConfig

WINDOW, CHUNK = 8, 10
SENTENCE = "push the sliding door to the left side"
ROWS = {
    "RoboVLMs', float32": ("robovlms", None),
    "RoboVLMs', 16-mixed": ("robovlms", torch.float16),
    "ours, float32": ("ours", None),
    "ours, bfloat16 mixed": ("ours", torch.bfloat16),
}
BASELINE = "RoboVLMs', float32"


def samples(count: int, side: int, seed: int = 0) -> list[WindowSample]:
    """Return windows with random pictures of the model's size and random actions."""
    random = np.random.default_rng(seed)
    actions = random.uniform(-1, 1, (count, WINDOW + CHUNK - 1, 7)).astype(np.float32)
    actions[..., 6] = actions[..., 6] > 0
    return [
        WindowSample(
            pictures={
                camera: random.integers(0, 256, (WINDOW, 3, side, side), dtype=np.uint8)
                for camera in ("static", "wrist")
            },
            actions=actions[number],
            is_valid=np.arange(WINDOW + CHUNK - 1) < WINDOW + CHUNK - 1 - number,
            state=np.zeros((WINDOW, 10), np.float32),
            instruction=SENTENCE,
            number=number,
        )
        for number in range(count)
    ]


def robovlms_batch(batch: WindowBatch, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return what RoboVLMs' loader gives: finished float32 pictures, and the future pictures of every tick."""
    config, cpu = checkpoint.model.config, torch.device("cpu")
    images = pictures_to_device(batch, config.cameras, config.image, None, device=cpu)
    future = torch.cat([images, images, images], dim=1)[:, : WINDOW + CHUNK]
    strided = future.unfold(1, CHUNK, 1)[:, 1 : WINDOW + 1].movedim(-1, 2)
    target = target_chunks(batch, WINDOW, CHUNK, cpu)
    return {
        "images": images,
        "future": strided,
        "ids": checkpoint.tokenizer(batch.instructions).ids,
        "arm": target.arm,
        "gripper_open": target.gripper_open,
        "is_valid": target.is_valid,
    }


def loss_of(kind: str, checkpoint: Checkpoint, batch: WindowBatch, device: torch.device) -> Callable[[], Tensor]:
    """Return a function that brings a batch to the device and computes the loss."""
    if kind == "robovlms":
        theirs: Any = RoboVlmsTraining(checkpoint.model)  # type: ignore[arg-type]
        finished = robovlms_batch(batch, checkpoint)
        return lambda: theirs(finished, device)
    objective = Objective(checkpoint.model)

    def ours() -> Tensor:
        inputs = model_inputs(batch, checkpoint.model.config, checkpoint.tokenizer, None, device)
        return objective(inputs.tensors, inputs.sentences, inputs.has_padding)["loss"]

    return ours


def measure(size: str, row: str, options: argparse.Namespace) -> dict[str, float]:
    """Return median seconds and peak memory of one row."""
    kind, dtype = ROWS[row]
    device = torch.device(options.device)
    checkpoint = build_checkpoint(size, options.device, torch.float32)
    model = checkpoint.model.train().requires_grad_(True)
    batch = collate(samples(options.batch_size, model.config.image.size_px))
    loss = loss_of(kind, checkpoint, batch, device)
    optimizer = build_optimizer(model, OptimizationConfig())
    scaler = torch.amp.GradScaler(options.device, enabled=dtype == torch.float16)
    times = []
    for _ in range(1 + options.steps):
        began = time.perf_counter()
        with torch.autocast(options.device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            value = loss()
        scaler.scale(value).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if options.device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return {"seconds": float(np.median(times[1:])), "gigabytes": _peak_gb(options.device)}


def compare(size: str, options: argparse.Namespace) -> dict[str, float]:
    """Return how far our loss and gradients are from the baseline's, without dropout."""
    found = {}
    for kind in ("robovlms", "ours"):
        checkpoint = build_checkpoint(size, options.device, torch.float32)
        model = checkpoint.model.eval().requires_grad_(True)
        batch = collate(samples(options.batch_size, model.config.image.size_px))
        value = loss_of(kind, checkpoint, batch, torch.device(options.device))()
        value.backward()
        used = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
        found[kind] = (float(value.detach()), used)
    (loss, grads), (our_loss, our_grads) = found["robovlms"], found["ours"]
    norm = float(torch.stack([grad.norm() for grad in grads.values()]).norm())
    away = torch.stack([(grads[name] - our_grads[name]).norm() for name in grads]).norm()
    return {"loss": abs(loss - our_loss), "gradient": float(away) / norm}


def _peak_gb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def in_own_process(size: str, work: str, options: argparse.Namespace) -> dict[str, float]:
    """Return what a fresh process measures."""
    own = ["--sizes", size, "--work", work, "--batch-size", str(options.batch_size), "--steps", str(options.steps)]
    command = [sys.executable, __file__, *own, "--threads", str(options.threads), "--device", options.device]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    numbers: dict[str, float] = json.loads(said.splitlines()[-1])
    return numbers


def main() -> None:
    """Measure and print."""
    options = _parse()
    torch.set_num_threads(options.threads)
    if options.work:
        size = options.sizes[0]
        numbers = compare(size, options) if options.work == "compare" else measure(size, options.work, options)
        print(json.dumps(numbers))
        return
    print(f"{machine()}; torch {torch.__version__}, {options.device}, {options.threads} threads")
    for size in options.sizes:
        away = in_own_process(size, "compare", options)
        print(f"\n{size}, batch {options.batch_size}: loss differs by {away['loss']:.1e}, gradient by ", end="")
        print(
            f"{away['gradient']:.1e} of its norm\n\n| step | median | faster | peak memory |\n|---|---:|---:|---:|"
        )
        rows = [name for name, (_, dtype) in ROWS.items() if dtype != torch.float16 or options.device == "cuda"]
        found = {name: in_own_process(size, name, options) for name in rows}
        for name, numbers in found.items():
            faster = found[BASELINE]["seconds"] / numbers["seconds"]
            memory = f"{numbers['gigabytes']:.2f} GB"
            print(f"| {name} | {numbers['seconds'] * 1e3:.0f} ms | {faster:.2f} x | {memory} |", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", choices=["tiny", "base", "real"], default=["tiny"])
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one that warms up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--work", choices=["compare", *ROWS], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
