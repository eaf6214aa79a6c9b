# SPDX-License-Identifier: Apache-2.0
"""How long one policy step takes, against RoboVLMs' own step on the same weights, in the same run.

Usage: python benchmarks/policy_step.py [--sizes tiny base real] [--ticks 40] [--threads 2] [--compile]

``tiny`` is what the demonstration runs, ``base`` has 0.3 B parameters, ``real`` the architecture of
kosmos-2-patch14-224 (1.7 B; about 16 GB of memory here, because the baseline runs in float32). Weights are random.
Every row says how far its actions are from the baseline's in float32. Steps of the rows are timed in turn, tick by
tick, so that a busy machine slows all of them.
"""

import argparse
import copy
import resource
import tempfile
import time
from collections.abc import Callable
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
from vla_core.images import ImageSpec
from vla_core.model.backbone import build_backbone_without_weights
from vla_core.model.build import build_model_without_weights
from vla_core.model.config import HeadConfig, ModelConfig, PromptConfig
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.model.weights import assign_weights, stored_tensors
from vla_core.policy import VlaPolicy
from vla_core.streams import StreamOptions
from vla_core.types import Observation

INSTRUCTION = "push the sliding door to the left side"
PROMPT = PromptConfig(text="<grounding>An image of a robot {instruction}")
WINDOW = 8
HEADS = {"tiny": HeadConfig(hidden_size=128, mlp_sizes=(128, 64))}
BASE_TEXT = {"vocab_size": 65037, "embed_dim": 1024, "layers": 12, "ffn_dim": 4096, "attention_heads": 16}
BASE_VISION = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CONFIGS: dict[str, dict[str, Any]] = {
    "base": {"text_config": BASE_TEXT, "vision_config": BASE_VISION},
    "real": {"text_config": {}, "vision_config": {}},
}
Step = Callable[[Observation], np.ndarray]


def main() -> None:
    options = parse()
    print(machine())
    torch.set_num_threads(options.threads)
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cuda":
        print(torch.cuda.get_device_name())
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = build_checkpoint(Path(folder), size, device)
        parameters = sum(weight.numel() for weight in checkpoint.model.parameters())
        print(f"\n{size}: {parameters / 1e6:.1f} M parameters, {device}, {options.threads} thread(s)")
        measure(checkpoint, options.ticks, use_compile=options.compile)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", nargs="+", choices=["tiny", "base", "real"], default=["tiny", "base"])
    parser.add_argument("--ticks", type=int, default=40, help="timed ticks after the window is full")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile")
    return parser.parse_args()


def build_checkpoint(folder: Path, size: str, device: str) -> Checkpoint:
    write_tiny_kosmos2(folder)
    if size in CONFIGS:
        Kosmos2Config(**CONFIGS[size]).save_pretrained(folder)
    config = ModelConfig(
        window_size=WINDOW,
        chunk_size=10,
        image=ImageSpec(size_px=build_backbone_without_weights("kosmos2", folder).image_size_px),
        prompt=PROMPT,
        head=HEADS.get(size, HeadConfig()),
    )
    model = build_model_without_weights(config, folder)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: (torch.randn(tensor.shape, generator=generator) * spread(tensor)).to(device)
        for name, tensor in stored_tensors(model).items()
    }
    assign_weights(model, tensors)
    card = CheckpointCard(
        model=config,
        action_space=ActionSpace(frame="tcp"),
        period_s=0.1,
        is_trained=False,
        robot=RobotSnapshot(
            name="benchmark", cameras=dict.fromkeys(config.cameras, PictureSize(width_px=200, height_px=200))
        ),
    )
    return Checkpoint(model=model, card=card, tokenizer=load_tokenizer(model, folder), backbone_dir=folder)


def spread(weight: torch.Tensor) -> float:
    """Return a standard deviation that lets every input visibly reach the actions."""
    return 1.5 / weight[0].numel() ** 0.5 if weight.dim() > 1 else 0.5


def measure(checkpoint: Checkpoint, ticks: int, *, use_compile: bool) -> None:
    rows: dict[str, Step] = {"RoboVLMs' step, float32": baseline_step(checkpoint)}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        rows[f"ours, {name}"] = our_step(checkpoint, dtype, StreamOptions())
        if use_compile:
            rows[f"ours, {name}, compiled"] = our_step(checkpoint, dtype, StreamOptions(compile=True))
    rows["ours, bfloat16, cameras in turn"] = our_step(
        checkpoint, torch.bfloat16, StreamOptions(alternate_cameras=True)
    )
    times_ms: dict[str, list[float]] = {name: [] for name in rows}
    errors = dict.fromkeys(rows, 0.0)
    for tick in range(WINDOW + ticks):
        seen, expected = observation(tick), None
        for name, step in rows.items():
            start = time.perf_counter()
            arm = step(seen)
            elapsed_ms = (time.perf_counter() - start) * 1e3
            expected = arm if expected is None else expected
            errors[name] = max(errors[name], float(np.abs(arm - expected).max()))
            if tick >= WINDOW:
                times_ms[name].append(elapsed_ms)
    report(times_ms, errors)


def report(times_ms: dict[str, list[float]], errors: dict[str, float]) -> None:
    first = float(np.median(next(iter(times_ms.values()))))
    print(f"  {'':34}{'median':>10}{'p95':>10}{'faster':>9}{'max |d arm|':>13}")
    for name, values in times_ms.items():
        median, p95 = float(np.median(values)), float(np.quantile(values, 0.95))
        print(f"  {name:34}{median:8.2f}ms{p95:8.2f}ms{first / median:8.2f}x{errors[name]:13.1e}")
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if torch.cuda.is_available():
        peak_gb = torch.cuda.max_memory_allocated() / 1e9
    print(f"  peak memory of the whole run: {peak_gb:.2f} GB")


def baseline_step(checkpoint: Checkpoint) -> Step:
    step = RoboVlmsStep(copied(checkpoint, torch.float32))
    return lambda seen: step.infer(seen, INSTRUCTION)[:, :6].numpy()


def our_step(checkpoint: Checkpoint, dtype: torch.dtype, options: StreamOptions) -> Step:
    policy = VlaPolicy(copied(checkpoint, dtype), options)
    return lambda seen: policy.infer(seen, INSTRUCTION).actions[:, :6]


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
