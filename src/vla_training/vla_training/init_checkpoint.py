# SPDX-License-Identifier: Apache-2.0
"""Make a checkpoint for a robot: a pretrained (or tiny, random) backbone with a new [LRN] token and head.

A training run starts from it, and the demonstration moves the simulated arm with it. The tiny backbone is written
to disk in Hugging Face's layout and then loaded like a pretrained one.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from vla_core.actions.action_space import ActionFrame, ActionSpace
from vla_core.checkpoint import save_checkpoint
from vla_core.checkpoint_card import RobotSnapshot
from vla_core.errors import VlaError
from vla_core.robot_spec import RobotSpec
from vla_training.training.start import TINY, backbone_folder, new_checkpoint, with_model_defaults
from vla_training.training.train_config import read_train_config

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
    where = str(config or "model")
    data = with_model_defaults(read_train_config(config), backbone, window_size=window_size, chunk_size=chunk_size)
    with backbone_folder(backbone, seed) as folder:
        made, _ = new_checkpoint(
            data,
            folder,
            robot=RobotSnapshot.of(spec),
            action_space=action_space or _ACTION_SPACE,
            period_s=1.0 / rate_hz,
            seed=seed,
            where=where,
        )
        made.card.contract.check_fits(spec)
        checkpoint = replace(
            made,
            statistics={"num_episodes": 0, "num_actions": 0},
            training={"is_trained": False, "seed": seed, "backbone": Path(backbone).name},
        )
        return save_checkpoint(checkpoint, out, overwrite=overwrite)


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
