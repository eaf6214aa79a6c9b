# SPDX-License-Identifier: Apache-2.0
"""Make a checkpoint for a robot: a pretrained (or tiny, random) backbone with a new [LRN] token and head.

A training run starts from it, and the demonstration moves the simulated arm with it. The tiny backbone is written
to disk in Hugging Face's layout and then loaded like a pretrained one.
"""

import argparse
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from vla_core.actions.action_space import ActionFrame, ActionSpace
from vla_core.checkpoint import Checkpoint, load_tokenizer, save_checkpoint
from vla_core.checkpoint_card import CheckpointCard, RobotSnapshot
from vla_core.errors import VlaError
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.config import ModelConfig
from vla_core.model.tiny_kosmos2 import write_tiny_kosmos2
from vla_core.robot_spec import RobotSpec
from vla_training.training.train_config import complete_train_config, read_train_config

TINY = "tiny"
_DEFAULT_MODEL = {"window_size": 8, "chunk_size": 5}
_TINY_MODEL = {"head": {"hidden_size": 128, "mlp_sizes": [128, 64]}}
_ACTION_SPACE = ActionSpace(frame="tcp")


def init_checkpoint(
    spec: RobotSpec,
    out: Path,
    *,
    backbone: str = TINY,
    config: Path | None = None,
    window_size: int | None = None,
    chunk_size: int | None = None,
    rate_hz: float = 10.0,
    action_space: ActionSpace | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write an untrained checkpoint for a robot; return its directory.

    Args:
        spec: The robot; gives the cameras and their aspect ratios.
        out: Directory of the checkpoint.
        backbone: ``tiny``, or the folder of a pretrained backbone in Hugging Face's layout.
        config: A training config; its section ``model`` says what is made.
        window_size: Ticks of history, instead of the config's.
        chunk_size: Actions per prediction, instead of the config's.
        rate_hz: Rate of the ticks.
        action_space: Meaning of the actions; ``None`` is motion in the tool frame at CALVIN's scale.
        seed: Of everything random.
        overwrite: Replace a checkpoint that is there.

    Raises:
        VlaError: The backbone cannot be loaded, or the robot cannot be run at that rate.
    """
    if not 0 < rate_hz < math.inf:
        raise VlaError(f"rate_hz must be above 0 and finite, found {rate_hz:g}")
    data = read_train_config(config)
    given = {"window_size": window_size, "chunk_size": chunk_size}
    data["model"] = {
        **_DEFAULT_MODEL,
        **(_TINY_MODEL if backbone == TINY else {}),
        **data.get("model", {}),
        **{key: value for key, value in given.items() if value is not None},
    }
    with _backbone_folder(backbone, seed) as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        where, cameras = str(config or "model"), list(spec.cameras)
        settings = complete_train_config(data, backbone_dir=folder, cameras=cameras, where=where)
        model = build_vla_model(settings.model, load_pretrained_backbone(settings.model.backbone, folder))
        model.init_new_tokens()
        card = _untrained_card(settings.model, spec, action_space or _ACTION_SPACE, 1.0 / rate_hz)
        checkpoint = Checkpoint(
            model=model,
            card=card,
            tokenizer=load_tokenizer(model, folder),
            backbone_dir=folder,
            statistics={"num_episodes": 0, "num_actions": 0},
            training={"is_trained": False, "seed": seed, "backbone": Path(backbone).name},
        )
        return save_checkpoint(checkpoint, out, overwrite=overwrite)


def _untrained_card(
    model: ModelConfig, spec: RobotSpec, action_space: ActionSpace, period_s: float
) -> CheckpointCard:
    card = CheckpointCard(
        model=model, action_space=action_space, period_s=period_s, is_trained=False, robot=RobotSnapshot.of(spec)
    )
    card.contract.check_fits(spec)
    return card


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        out = init_checkpoint(
            RobotSpec.load(options.robot),
            options.out,
            backbone=options.backbone,
            config=options.config,
            window_size=options.window_size,
            chunk_size=options.chunk_size,
            rate_hz=options.rate_hz,
            action_space=replace(_ACTION_SPACE, frame=options.action_frame),
            seed=options.seed,
            overwrite=options.overwrite,
        )
    except ValueError as error:
        print(f"init_checkpoint: {error}", file=sys.stderr)
        return 1
    print(f"UNTRAINED checkpoint (random [LRN] token and head, seed {options.seed}) written to {out}")
    return 0


@contextmanager
def _backbone_folder(backbone: str, seed: int) -> Iterator[Path]:
    if backbone != TINY:
        yield Path(backbone)
        return
    folder = Path(tempfile.mkdtemp(prefix="tiny_kosmos2."))
    try:
        yield write_tiny_kosmos2(folder, seed=seed)
    finally:
        shutil.rmtree(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="init_checkpoint", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    # The function's signature is the one home of the defaults.
    parser.set_defaults(**(init_checkpoint.__kwdefaults__ or {}))
    parser.add_argument("--robot", type=Path, required=True, metavar="SPEC.yaml", help="the robot spec")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoint directory to write")
    parser.add_argument(
        "--backbone",
        metavar="tiny|FOLDER",
        help="tiny random Kosmos-2, or the folder of a pretrained backbone (default: %(default)s)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="TRAIN.yaml", help="a training config; its section 'model' is made"
    )
    parser.add_argument("--window-size", type=int, help="ticks of history, instead of the config's")
    parser.add_argument("--chunk-size", type=int, help="actions per prediction, instead of the config's")
    parser.add_argument("--rate-hz", type=float, help="rate of the ticks (default: %(default)g)")
    parser.add_argument(
        "--action-frame", choices=get_args(ActionFrame), default=_ACTION_SPACE.frame, help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, help="of everything random (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
