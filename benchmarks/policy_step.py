# SPDX-License-Identifier: Apache-2.0
"""How long one policy step takes, against encoding the whole window again and against the backbone alone.

Usage: python benchmarks/policy_step.py [--real] [--ticks 50] [--threads 1] [--window-size 8]

The tiny model is what the demonstration runs. ``--real`` builds the architecture of kosmos-2-patch14-224 (1.6 B
parameters, random weights, bfloat16 unless --dtype float32), which needs about 4 GB of memory. Backbone calls are
timed inside the step, so that the rest is not the difference of two noisy numbers; medians are printed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from transformers import Kosmos2Config

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint import Checkpoint, load_tokenizer
from vla_core.checkpoint_card import CheckpointCard, PictureSize, RobotSnapshot
from vla_core.geometry import Pose
from vla_core.images import ImageSpec
from vla_core.model.backbone import build_backbone_without_weights
from vla_core.model.config import HeadConfig, ModelConfig
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.model.vla import VlaModel
from vla_core.model.weights import assign_weights
from vla_core.policy import VlaPolicy
from vla_core.types import Observation

INSTRUCTION = "push the sliding door to the left side"
TINY_HEAD = HeadConfig(hidden_size=128, mlp_sizes=(128, 64))


@dataclass(frozen=True)
class Times:
    """Medians in milliseconds."""

    step: float
    backbone: float
    rest: float
    window: float


def main() -> None:
    options = parse()
    print(machine())
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype) if options.real else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = build_checkpoint(Path(folder), options.window_size, real=options.real, dtype=dtype)
    parameters = sum(weight.numel() for weight in checkpoint.model.parameters())
    name = "real proportions" if options.real else "tiny"
    print(f"{name}: {parameters / 1e6:.1f} M parameters, {dtype}, {options.threads} thread(s), random weights")
    times = measure(checkpoint, options.ticks)
    share = 100 * times.rest / times.backbone
    again = times.window / times.step
    print(f"  streaming step               {times.step:9.2f} ms")
    print(f"  its backbone calls           {times.backbone:9.2f} ms")
    print(f"  the rest of it               {times.rest:9.2f} ms  ({share:.2f} % of the backbone)")
    print(f"  encoding {options.window_size:2d} ticks again      {times.window:9.2f} ms  ({again:.2f} steps)")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--real", action="store_true", help="the proportions of kosmos-2-patch14-224")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="with --real")
    parser.add_argument("--ticks", type=int, default=50, help="timed ticks after the window is full")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--window-size", type=int, default=8)
    return parser.parse_args()


def build_checkpoint(folder: Path, window_size: int, *, real: bool, dtype: torch.dtype) -> Checkpoint:
    write_tiny_kosmos2(folder)
    if real:
        Kosmos2Config(text_config={}, vision_config={}).save_pretrained(folder)
    backbone = build_backbone_without_weights("kosmos2", folder)
    config = ModelConfig(
        window_size=window_size,
        chunk_size=10 if real else 5,
        image=ImageSpec(size_px=backbone.image_size_px),
        head=HeadConfig() if real else TINY_HEAD,
    )
    with torch.device("meta"):
        model = VlaModel(config, backbone)
    torch.manual_seed(0)
    tensors = {
        name: torch.empty(tensor.shape, dtype=dtype).uniform_(-0.03, 0.03)
        for name, tensor in model.state_dict().items()
    }
    assign_weights(model, tensors)
    card = CheckpointCard(
        model=config,
        action_space=ActionSpace(frame="tcp"),
        period_s=0.1,
        is_trained=False,
        robot=RobotSnapshot(
            name="benchmark",
            cameras=dict.fromkeys(("static", "wrist"), PictureSize(width_px=200, height_px=200)),
        ),
    )
    return Checkpoint(model=model, card=card, tokenizer=load_tokenizer(model, folder), backbone_dir=folder)


def measure(checkpoint: Checkpoint, ticks: int) -> Times:
    policy, model = VlaPolicy(checkpoint), checkpoint.model
    tokens = checkpoint.tokenizer([INSTRUCTION])
    window, size_px = model.config.window_size, model.config.image.size_px
    images = torch.randn(1, window, 2, 3, size_px, size_px).to(model.lrn_token.dtype)
    in_backbone = Stopwatch()
    in_backbone.watch(model.backbone, "encode_images", "hidden_states")
    steps_ms, backbones_ms, windows_ms = [], [], []
    for tick in range(window + ticks):
        seen = observation(tick)
        in_backbone.total_ms = 0.0
        step_ms = elapsed_ms(lambda seen=seen: policy.infer(seen, INSTRUCTION))
        if tick < window:
            continue  # warming up
        steps_ms.append(step_ms)
        backbones_ms.append(in_backbone.total_ms)
        with torch.inference_mode():
            windows_ms.append(elapsed_ms(lambda: model(images, tokens)))
    rest_ms = np.subtract(steps_ms, backbones_ms)
    return Times(*(float(np.median(values)) for values in (steps_ms, backbones_ms, rest_ms, windows_ms)))


class Stopwatch:
    """Adds up the time inside some methods of an object."""

    def __init__(self) -> None:
        self.total_ms = 0.0

    def watch(self, watched: Any, *names: str) -> None:
        """Wrap methods of an object so that their time counts."""
        for name in names:
            setattr(watched, name, self._timed(getattr(watched, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = method(*arguments)
            self.total_ms += (time.perf_counter() - start) * 1e3
            return result

        return timed


def elapsed_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


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
