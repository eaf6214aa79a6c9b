# SPDX-License-Identifier: Apache-2.0
"""A training config (``config/train/*.yaml``): the model, what of it is trained, from what, and how.

In its ``model`` section the backbone's own prompt, picture size and normalisation, the robot's cameras and the ids
of action tokens need not be written: what is left out comes from the backbone's folder and the robot.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vla_core.config import build, read_yaml, to_plain
from vla_core.errors import ConfigError
from vla_core.model.backbone import backbone_class, backbone_kind_of
from vla_core.model.config import ModelConfig
from vla_core.model.prompt import action_token_end
from vla_training.training.finetuning import FinetuningConfig
from vla_training.training.settings import (
    CotrainingConfig,
    DataConfig,
    GroundingConfig,
    OptimizationConfig,
    RunConfig,
    StartConfig,
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that a training run is told.

    Attributes:
        model: Every choice about the model.
        finetuning: What is trained of the backbone.
        start: Where the weights come from.
        data: What the run reads; without it a config only describes a model.
        optimization: How weights change.
        run: How the run is watched and kept.
        cotraining: Questions about pictures beside the demonstrations; ``null`` leaves them out.
        grounding: Auxiliary loss where the data says where the named things are; ``null`` leaves it out.
    """

    model: ModelConfig
    finetuning: FinetuningConfig = field(default_factory=FinetuningConfig)
    start: StartConfig = field(default_factory=StartConfig)
    data: DataConfig | None = None
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    run: RunConfig = field(default_factory=RunConfig)
    cotraining: CotrainingConfig | None = None
    grounding: GroundingConfig | None = None

    def __post_init__(self) -> None:
        if self.grounding is not None and self.model.structure == "one_step_discrete":
            raise ValueError(
                "grounding reads the features of each tick, which structure one_step_discrete does not have; "
                "leave the section grounding out, or take another structure"
            )


def read_train_config(path: Path | None) -> dict[str, Any]:
    """Return the plain data of a training config; without a path an empty one.

    Raises:
        ConfigError: The file is missing or is no mapping.
    """
    data = {} if path is None else read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("model", {}), dict):
        raise ConfigError(f"{path}: expected a mapping with a section 'model'")
    return data


def with_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return plain data with values of ``section.key=value`` in the place of its own.

    Values are YAML: ``optimization.learning_rate=1e-4``, ``run.save_every=null``, ``data.sources=[{path: a}]``.

    Raises:
        ConfigError: An override is no ``key=value``, or its section is no mapping.
    """
    changed = copy.deepcopy(dict(data))
    for override in overrides:
        key, found, value = override.partition("=")
        *sections, last = key.strip().split(".")
        if not found or not all([*sections, last]):
            raise ConfigError(f"--set {override}: expected section.key=value")
        place = changed
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--set {override}: '{section}' is no section")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from error
    return changed


def complete_train_config(
    data: Mapping[str, Any], *, backbone_dir: Path, cameras: Sequence[str], where: str
) -> TrainConfig:
    """Return a training config whose model section is completed from a backbone's folder and a robot.

    Args:
        data: Plain data of the file.
        backbone_dir: Folder of the backbone in Hugging Face's layout.
        cameras: Names of the robot's cameras.
        where: Name of the file, for errors.

    Raises:
        ConfigError: A key is unknown or its value is not allowed.
        CheckpointError: The backbone's folder cannot be read.
    """
    section = dict(data.get("model", {}))
    found = backbone_kind_of(backbone_dir)
    if section.setdefault("backbone", found) != found:
        raise ConfigError(f"{where}: model.backbone is {section['backbone']}, but {backbone_dir} holds a {found}")
    backbone = backbone_class(found)
    section.setdefault("image", to_plain(backbone.image_spec(backbone_dir)))
    section.setdefault("prompt", to_plain(backbone.prompt))
    section.setdefault("cameras", [name for name in ModelConfig.cameras if name in cameras])
    if section.get("structure") == "one_step_discrete":
        tokens = dict(section.get("action_tokens") or {})
        tokens.setdefault("end_token_id", action_token_end(backbone_dir))
        section["action_tokens"] = tokens
    return build(TrainConfig, {**data, "model": section}, where=where)
