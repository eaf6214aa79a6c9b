# SPDX-License-Identifier: Apache-2.0
"""How long one policy step takes, against RoboVLMs' own step on the same weights, in the same run.

Usage: python benchmarks/policy_step.py [--sizes tiny base real] [--ticks 40] [--threads 2] [--compile]

``tiny`` is what the demonstration runs, ``base`` has 0.3 B parameters, ``real`` the architecture of
kosmos-2-patch14-224 (1.7 B; 11 GB of memory, because the baseline runs in float32). Weights are random. Every row
says how far its actions are from the baseline's in float32. Steps of the rows are timed in turn, tick by tick, so
that a busy machine slows all of them. Memory is that of a process of its own which runs one row alone.
"""

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from robovlms_step import RoboVlmsStep
from transformers import Kosmos2Config

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint import Checkpoint, load_tokenizer
from vla_core.checkpoint_card import CheckpointCard, PictureSize, RobotSnapshot
from vla_core.geometry import Pose
from vla_core.model.backbones.kosmos2 import Kosmos2Backbone
from vla_core.model.build import build_model_without_weights
from vla_core.model.config import HeadConfig, ModelConfig
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.model.weights import assign_weights, stored_tensors
from vla_core.policy import VlaPolicy
from vla_core.streams import StreamOptions
from vla_core.types import Observation

INSTRUCTION = "push the sliding door to the left side"
WINDOW = 8
HEADS = {"tiny": HeadConfig(hidden_size=128, mlp_sizes=(128, 64))}
BASE_TEXT = {"vocab_size": 65037, "embed_dim": 1024, "layers": 12, "ffn_dim": 4096, "attention_heads": 16}
BASE_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CONFIGS: dict[str, dict[str, Any]] = {
    "base": {"text_config": BASE_TEXT, "vision_config": BASE_VISION},
    "real": {"text_config": {}, "vision_config": {}},
}
Step = Callable[[Observation], np.ndarray]


@dataclass(frozen=True)
class Row:
    """One way to run the step; without options it is RoboVLMs'."""

    dtype: torch.dtype
    options: StreamOptions | None = None

    def step(self, checkpoint: Checkpoint) -> Step:
        """Return the step of a checkpoint in this type: an observation to the arm's part of a chunk."""
        if self.options is None:
            original = RoboVlmsStep(checkpoint)
            return lambda seen: original.infer(seen, INSTRUCTION)[:, :6].numpy()
        policy = VlaPolicy(checkpoint, self.options)
        return lambda seen: policy.infer(seen, INSTRUCTION).actions[:, :6]


BASELINE = "RoboVLMs' step, float32"
ROWS = {
    BASELINE: Row(torch.float32),
    "ours, float32": Row(torch.float32, StreamOptions()),
    "ours, float32, compiled": Row(torch.float32, StreamOptions(compile=True)),
    "ours, bfloat16": Row(torch.bfloat16, StreamOptions()),
    "ours, bfloat16, compiled": Row(torch.bfloat16, StreamOptions(compile=True)),
    "ours, bfloat16, cameras in turn": Row(torch.bfloat16, StreamOptions(alternate_cameras=True)),
}


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    if options.memory_of:
        print(peak_memory_gb(options.sizes[0], ROWS[options.memory_of], device))
        return
    print(machine())
    if device == "cuda":
        print(torch.cuda.get_device_name())
    rows = {name: row for name, row in ROWS.items() if options.compile or not name.endswith("compiled")}
    for size in options.sizes:
        checkpoint = build_checkpoint(size, device, torch.float32)
        parameters = sum(weight.numel() for weight in checkpoint.model.parameters())
        print(f"\n{size}: {parameters / 1e6:.1f} M parameters, {device}, {options.threads} thread(s)")
        times_ms, errors = measure(checkpoint, rows, options.ticks)
        del checkpoint
        report(times_ms, errors, {name: memory_in_own_process(size, name, device) for name in rows})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", choices=["tiny", "base", "real"], default=["tiny", "base"])
    parser.add_argument("--ticks", type=int, default=40, help="timed ticks after the window is full")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    parser.add_argument("--memory-of", choices=list(ROWS), help=argparse.SUPPRESS)
    return parser.parse_args()


def build_checkpoint(size: str, device: str, dtype: torch.dtype) -> Checkpoint:
    with tempfile.TemporaryDirectory() as name:
        folder = write_tiny_kosmos2(Path(name))
        if size in CONFIGS:
            Kosmos2Config(**CONFIGS[size]).save_pretrained(folder)
        config = ModelConfig(
            window_size=WINDOW,
            chunk_size=10,
            image=Kosmos2Backbone.image_spec(folder),
            prompt=Kosmos2Backbone.prompt,
            head=HEADS.get(size, HeadConfig()),
        )
        model = build_model_without_weights(config, folder)
        tokenizer = load_tokenizer(model, folder)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: (torch.randn(tensor.shape, generator=generator) * spread(tensor)).to(device, dtype)
        for name, tensor in stored_tensors(model).items()
    }
    card = CheckpointCard(
        model=config,
        action_space=ActionSpace(frame="tcp"),
        period_s=0.1,
        is_trained=False,
        robot=RobotSnapshot(
            name="benchmark", cameras=dict.fromkeys(config.cameras, PictureSize(width_px=200, height_px=200))
        ),
    )
    return Checkpoint(
        model=assign_weights(model, tensors).eval(), card=card, tokenizer=tokenizer, backbone_dir=folder
    )


def spread(weight: torch.Tensor) -> float:
    """Return a standard deviation that lets every input visibly reach the actions."""
    return 1.5 / weight[0].numel() ** 0.5 if weight.dim() > 1 else 0.5


def measure(
    checkpoint: Checkpoint, rows: dict[str, Row], ticks: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the times of each row in milliseconds, and its largest distance from the baseline's actions."""
    steps = {name: row.step(copied(checkpoint, row.dtype)) for name, row in rows.items()}
    times_ms: dict[str, list[float]] = {name: [] for name in rows}
    errors = dict.fromkeys(rows, 0.0)
    for tick in range(WINDOW + ticks):
        seen, arms = observation(tick), {}
        for name, step in steps.items():
            start = time.perf_counter()
            arms[name] = step(seen)
            if tick >= WINDOW:
                times_ms[name].append((time.perf_counter() - start) * 1e3)
            errors[name] = max(errors[name], float(np.abs(arms[name] - arms[BASELINE]).max()))
    return times_ms, errors


def report(times_ms: dict[str, list[float]], errors: dict[str, float], memory_gb: dict[str, float]) -> None:
    baseline_ms = float(np.median(times_ms[BASELINE]))
    print(f"  {'':34}{'median':>10}{'p95':>10}{'faster':>9}{'max |d arm|':>13}{'memory':>10}")
    for name, values in times_ms.items():
        median, p95 = float(np.median(values)), float(np.quantile(values, 0.95))
        numbers = f"{median:8.2f}ms{p95:8.2f}ms{baseline_ms / median:8.2f}x{errors[name]:13.1e}"
        print(f"  {name:34}{numbers}{memory_gb[name]:7.2f} GB")


def memory_in_own_process(size: str, name: str, device: str) -> float:
    command = [sys.executable, __file__, "--sizes", size, "--device", device, "--memory-of", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def peak_memory_gb(size: str, row: Row, device: str) -> float:
    """Return the most memory that one row took, weights included."""
    step = row.step(build_checkpoint(size, device, row.dtype))
    for tick in range(WINDOW + 2):
        step(observation(tick))
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    # Not getrusage: its peak counts that of the process which started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def copied(checkpoint: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    """Return the checkpoint with a model of its own; weights are shared where the type is the same."""
    model = copy.deepcopy(checkpoint.model, {id(weight): weight for weight in checkpoint.model.parameters()})
    tensors = {name: tensor.to(dtype) for name, tensor in stored_tensors(checkpoint.model).items()}
    return Checkpoint(
        model=assign_weights(model, tensors).eval(),
        card=checkpoint.card,
        tokenizer=checkpoint.tokenizer,
        backbone_dir=checkpoint.backbone_dir,
    )


def observation(seed: int) -> Observation:
    generator = np.random.default_rng(seed)
    return Observation(
        stamp_ns=seed,
        images={name: generator.integers(0, 256, (200, 200, 3), dtype=np.uint8) for name in ("static", "wrist")},
        pose_tcp_in_base=Pose.identity(),
        joint_positions_rad=np.zeros(7),
        gripper_open=1.0,
        source_stamps_ns={},
    )


if __name__ == "__main__":
    main()
