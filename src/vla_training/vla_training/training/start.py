# SPDX-License-Identifier: Apache-2.0
"""The checkpoint that a run starts from: a pretrained (or tiny, random) backbone with a new [LRN] and head."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vla_core.actions.action_space import ActionSpace
from vla_core.checkpoint import Checkpoint, load_tokenizer
from vla_core.checkpoint_card import CheckpointCard, RobotSnapshot
from vla_core.model.backbone import load_pretrained_backbone
from vla_core.model.build import build_vla_model
from vla_core.model.tiny_kosmos2 import TinyKosmos2Config, write_tiny_kosmos2
from vla_training.training.train_config import TrainConfig, complete_train_config

TINY = "tiny"
_DEFAULT_MODEL = {"window_size": 8, "chunk_size": 5}
_TINY_MODEL = {"head": {"hidden_size": 128, "mlp_sizes": [128, 64]}}


@contextmanager
def backbone_folder(
    backbone: str, seed: int, size: TinyKosmos2Config | None = None, sentences: Sequence[str] = ()
) -> Iterator[Path]:
    """Yield the folder of a backbone; ``tiny`` is written to a temporary one, in Hugging Face's layout.

    Args:
        backbone: Its folder, or ``tiny``.
        seed: Of the random weights of ``tiny``.
        size: Of ``tiny``.
        sentences: Their words become tokens of ``tiny``.
    """
    if backbone != TINY:
        yield Path(backbone)
        return
    folder = Path(tempfile.mkdtemp(prefix="tiny_kosmos2."))
    try:
        yield write_tiny_kosmos2(folder, seed=seed, size=size, sentences=sentences)
    finally:
        shutil.rmtree(folder)


def with_model_defaults(data: Mapping[str, Any], backbone: str, **given: Any) -> dict[str, Any]:
    """Return plain data of a training config with the values that its model section leaves out.

    Args:
        data: Plain data of the file.
        backbone: ``tiny`` gets a small head.
        given: Keys of the model section that count more than the file; ``None`` is not given.
    """
    model = {
        **_DEFAULT_MODEL,
        **(_TINY_MODEL if backbone == TINY else {}),
        **data.get("model", {}),
        **{key: value for key, value in given.items() if value is not None},
    }
    return {**data, "model": model}


def new_checkpoint(
    data: Mapping[str, Any],
    folder: Path,
    *,
    robot: RobotSnapshot,
    action_space: ActionSpace,
    period_s: float,
    seed: int,
    where: str,
) -> tuple[Checkpoint, TrainConfig]:
    """Return an untrained checkpoint in memory, and the config that made it.

    Args:
        data: Plain data of a training config.
        folder: Of the backbone; the checkpoint reads its tokenizer files from there.
        robot: The robot that it is made for.
        action_space: Meaning of its actions.
        period_s: Seconds between ticks.
        seed: Of everything random.
        where: Name of the config, for errors.

    Raises:
        VlaError: The config or the backbone's folder cannot be used.
    """
    settings = complete_train_config(data, backbone_dir=folder, cameras=list(robot.cameras), where=where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_vla_model(settings.model, load_pretrained_backbone(settings.model.backbone, folder))
        model.init_new_tokens()
    card = CheckpointCard(
        model=settings.model, action_space=action_space, period_s=period_s, is_trained=False, robot=robot
    )
    return Checkpoint(
        model=model, card=card, tokenizer=load_tokenizer(model, folder), backbone_dir=folder
    ), settings
