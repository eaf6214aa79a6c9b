# SPDX-License-Identifier: Apache-2.0
"""Settings of a run to everything that is known before its first step: data, start, order of samples."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from vla_core.checkpoint import Checkpoint, load_checkpoint
from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import build, to_plain
from vla_core.errors import ConfigError
from vla_training.datasets.mixture import Mixture, MixtureDataset
from vla_training.datasets.window_dataset import WindowDataset
from vla_training.training.settings import DataConfig, RunConfig, StartConfig
from vla_training.training.sources import Sources, open_sources
from vla_training.training.start import backbone_folder, new_checkpoint, with_model_defaults
from vla_training.training.train_config import TrainConfig


@dataclass(frozen=True, eq=False)
class Preparation:
    """A run before its first step.

    Attributes:
        config: Resolved settings.
        data: The section ``data``.
        sources: The opened datasets.
        start: The checkpoint that it starts from.
        training: Windows of every source.
        validation: Name of a source to windows that are not trained on.
        mixture: Order of the samples.
    """

    config: TrainConfig
    data: DataConfig
    sources: Sources
    start: Checkpoint
    training: MixtureDataset
    validation: Mapping[str, WindowDataset]
    mixture: Mixture

    @property
    def num_steps(self) -> int:
        """Length of the run."""
        optimization = self.config.optimization
        return optimization.max_steps or max(round(optimization.epochs * self.mixture.batches_per_epoch), 1)


@contextmanager
def prepare(settings: Mapping[str, Any], where: str) -> Iterator[Preparation]:
    """Yield a run before its first step; what it holds on disk is there until the context ends.

    Args:
        settings: Plain data of a training config.
        where: Name of the config, for errors.

    Raises:
        VlaError: A setting, a dataset or the start cannot be used.
    """
    if "data" not in settings:
        raise ConfigError(
            f"{where}: no section 'data'; a run needs data.sources: [{{path: DATASET}}]. This config only "
            "describes a model"
        )
    data = build(DataConfig, settings["data"], f"{where}: data")
    start = build(StartConfig, settings.get("start"), f"{where}: start")
    seed = build(RunConfig, settings.get("run"), f"{where}: run").seed
    if start.checkpoint is not None:
        yield _continued(settings, data, load_checkpoint(start.checkpoint, dtype=torch.float32), where)
        return
    sources = open_sources(data)
    sentences = sources.sentences if start.tiny is not None else ()
    with backbone_folder(start.backbone, seed, start.tiny, sentences) as folder:
        checkpoint, config = new_checkpoint(
            with_model_defaults(settings, start.backbone),
            folder,
            robot=sources.card.robot,
            action_space=sources.action_space,
            period_s=sources.card.period_s,
            seed=seed,
            where=where,
        )
        state_token = checkpoint.model.state_token
        if state_token is not None:
            state_token.standardize(torch.from_numpy(sources.states()))
        yield _preparation(config, data, sources, checkpoint)


def _continued(settings: Mapping[str, Any], data: DataConfig, loaded: Checkpoint, where: str) -> Preparation:
    """Return the preparation of a run that trains a checkpoint further, on the robot of its data."""
    model = to_plain(loaded.card.model)
    given = settings.get("model", model)
    if {**model, **given} != model:
        raise ConfigError(
            f"{where}: start.checkpoint is trained further as it is, but the section 'model' asks for another "
            "model; leave the section out"
        )
    config = build(TrainConfig, {**settings, "model": model}, where)
    sources = open_sources(data, kept=loaded.card.action_space)
    card = _card_for(loaded.card, sources)
    return _preparation(config, data, sources, replace(loaded, card=card))


def _card_for(card: CheckpointCard, sources: Sources) -> CheckpointCard:
    try:
        return replace(card, robot=sources.card.robot, period_s=sources.card.period_s)
    except ValueError as error:
        raise ConfigError(f"the checkpoint does not fit the data: {error}") from error


def _preparation(config: TrainConfig, data: DataConfig, sources: Sources, start: Checkpoint) -> Preparation:
    grounds = config.grounding is not None
    windows = sources.training_windows(config.model, with_points=grounds)
    sizes = tuple(len(each) for each in windows)
    weights = tuple(
        float(size if source.weight is None else source.weight)
        for size, source in zip(sizes, data.sources, strict=True)
    )
    mixture = Mixture(
        sizes=sizes, weights=weights, batch_size=config.optimization.batch_size, seed=config.run.seed
    )
    return Preparation(
        config,
        data,
        sources,
        replace(start, statistics=sources.statistics),
        MixtureDataset(windows),
        sources.validation_windows(config.model, with_points=grounds),
        mixture,
    )
