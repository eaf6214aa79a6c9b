# SPDX-License-Identifier: Apache-2.0
"""The datasets of a run: what they say about robot, rate and actions, and their windows for a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_core.actions.action_space import ActionSpace
from vla_core.actions.normalization import NormalizationSpec
from vla_core.errors import ConfigError
from vla_core.model.config import ModelConfig
from vla_training.datasets.dataset_card import DatasetCard
from vla_training.datasets.frame_store import FrameStore
from vla_training.datasets.named_points import POINTS_FILE, NamedPoints
from vla_training.datasets.policy_actions import robot_states
from vla_training.datasets.splits import has_frames, open_split
from vla_training.datasets.statistics import action_statistics, percentile_range, used_units
from vla_training.datasets.window_dataset import WindowDataset
from vla_training.training.settings import DataConfig


@dataclass(frozen=True, eq=False)
class Sources:
    """The opened datasets of a run.

    Attributes:
        config: The section ``data``.
        training: One split per source.
        validation: Name of a source to its validation split, where it has one.
        action_space: Meaning of the actions that are learned.
        statistics: Plain data for the checkpoint, one entry per source.
    """

    config: DataConfig
    training: tuple[FrameStore, ...]
    validation: Mapping[str, FrameStore]
    action_space: ActionSpace
    statistics: Mapping[str, Any]

    @property
    def card(self) -> DatasetCard:
        """Facts of the first source: robot and rate of the checkpoint."""
        return self.training[0].card

    @cached_property
    def named_points(self) -> Mapping[Path, NamedPoints]:
        """Folder of a split to where the named things are in it; a split without labels has no rows.

        Raises:
            ConfigError: No source has labels for training, or their slots differ.
            DatasetError: A file of labels cannot be read.
        """
        splits = [*self.training, *self.validation.values()]
        found = {store.folder: NamedPoints.load(store.folder) for store in splits}
        if all(found[store.folder] is None for store in self.training):
            raise ConfigError(
                f"grounding needs a source with {POINTS_FILE} in its folder 'training', but none of "
                f"{[str(source.path) for source in self.config.sources]} has one; label one, or leave the section "
                "grounding out"
            )
        slots = {folder: points.num_slots for folder, points in found.items() if points is not None}
        if len(set(slots.values())) > 1:
            listed = ", ".join(f"{count} in {folder}" for folder, count in slots.items())
            raise ConfigError(f"grounding: all {POINTS_FILE} must have the same slots, found {listed}")
        nothing = NamedPoints.nothing(next(iter(slots.values())))
        return {folder: points or nothing for folder, points in found.items()}

    @property
    def sentences(self) -> tuple[str, ...]:
        """Every sentence of the training data, in order."""
        return tuple(annotation.instruction for store in self.training for annotation in store.annotations)

    def states(self) -> NDArray[np.float32]:
        """Return (F, 10) measured states of all training frames, as ``use_state`` reads them."""
        return np.concatenate([robot_states(store.numbers) for store in self.training])

    def training_windows(self, model: ModelConfig, *, with_points: bool = False) -> tuple[WindowDataset, ...]:
        """Return the windows of each source that a model is trained on, with the named points if they are used.

        Raises:
            ConfigError: A source has none.
        """
        datasets = []
        for source, store in zip(self.config.sources, self.training, strict=True):
            points = self.named_points[store.folder] if with_points else None
            windows = _windows(store, self.action_space, model, source.stride, points)
            if not len(windows):
                raise ConfigError(
                    f"{store.folder}: no annotation is longer than the window of {model.window_size} ticks; use a "
                    "shorter window_size or longer episodes"
                )
            datasets.append(windows)
        return tuple(datasets)

    def validation_windows(self, model: ModelConfig, *, with_points: bool = False) -> dict[str, WindowDataset]:
        """Return the windows of each validation split; a window begins where the one before it has ended."""
        found = {}
        for name, store in self.validation.items():
            points = self.named_points[store.folder] if with_points else None
            found[name] = _windows(store, self.action_space, model, model.window_size, points)
        return {name: windows for name, windows in found.items() if len(windows)}


def open_sources(config: DataConfig, kept: ActionSpace | None = None) -> Sources:
    """Return the datasets that a run reads.

    Args:
        config: The section ``data``.
        kept: Meaning of the actions of a checkpoint that is trained further.

    Raises:
        ConfigError: Rates differ, or a frame was asked for that the checkpoint does not have.
        DatasetError: A dataset cannot be read.
    """
    stores = tuple(open_split(source.path, "training") for source in config.sources)
    _require_one_rate(stores, config)
    space = kept or _action_space(config, stores)
    if kept is not None and config.action_frame not in (None, kept.frame):
        raise ConfigError(
            f"data.action_frame is {config.action_frame}, but the checkpoint that is trained further speaks "
            f"{kept.frame}; leave action_frame out"
        )
    names = _names([source.path for source in config.sources])
    for store in stores:
        if not store.annotations:
            raise ConfigError(f"{store.folder}: it holds no sentence; leave the source out, or annotate it")
    units = [used_units(store, space) for store in stores]
    if space.normalization is None and kept is None and config.normalization == "percentiles":
        space = _normalized(space, percentile_range(np.concatenate(units)))
    validation = {
        name: open_split(source.path, "validation")
        for name, source in zip(names, config.sources, strict=True)
        if has_frames(source.path, "validation")
    }
    statistics = {
        name: action_statistics(store, unit) for name, store, unit in zip(names, stores, units, strict=True)
    }
    return Sources(config, stores, validation, space, {"sources": statistics})


def _windows(
    store: FrameStore, space: ActionSpace, model: ModelConfig, stride: int, points: NamedPoints | None
) -> WindowDataset:
    return WindowDataset(
        store,
        space,
        cameras=model.cameras,
        window_size=model.window_size,
        chunk_size=model.chunk_size,
        stride=stride,
        points=points,
    )


def _action_space(config: DataConfig, stores: tuple[FrameStore, ...]) -> ActionSpace:
    """Return the meaning of actions that the config asks for, before percentiles are known."""
    recorded = stores[0].card.action_space
    normalization = NormalizationSpec.symmetric(config.bound) if config.normalization == "fixed" else None
    return ActionSpace(
        frame=config.action_frame or recorded.frame,
        translation_m=recorded.translation_m,
        rotation_rad=recorded.rotation_rad,
        normalization=normalization,
    )


def _normalized(space: ActionSpace, normalization: NormalizationSpec) -> ActionSpace:
    return ActionSpace(
        frame=space.frame,
        translation_m=space.translation_m,
        rotation_rad=space.rotation_rad,
        normalization=normalization,
    )


def _require_one_rate(stores: tuple[FrameStore, ...], config: DataConfig) -> None:
    first = stores[0].card.period_s
    for store in stores[1:]:
        if abs(store.card.period_s - first) > 0.01 * first and not config.mixed_rates:
            raise ConfigError(
                f"data.sources: {store.folder.parent} was recorded at {1 / store.card.period_s:.3g} Hz, "
                f"{stores[0].folder.parent} at {1 / first:.3g} Hz; an action of one is another motion in the "
                "other. Convert the bags with --rate-hz of the other, or set data.mixed_rates: true"
            )


def _names(paths: list[Path]) -> list[str]:
    """Return a short name for each source, unlike the others."""
    names = [path.resolve().name for path in paths]
    return [name if names.count(name) == 1 else f"{name}-{place}" for place, name in enumerate(names)]
