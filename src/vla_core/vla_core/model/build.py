# SPDX-License-Identifier: Apache-2.0
"""From a configuration to a model of its structure."""

from pathlib import Path

from accelerate import init_empty_weights

from vla_core.errors import CheckpointError
from vla_core.model.backbone import Backbone, build_backbone_without_weights
from vla_core.model.config import ModelConfig, Structure
from vla_core.model.interleaved import InterleavedModel
from vla_core.model.one_step_discrete import OneStepDiscreteModel
from vla_core.model.policy_head import PolicyHeadModel
from vla_core.model.vla import VlaModel

STRUCTURES: dict[Structure, type[VlaModel]] = {
    "policy_head_continuous": PolicyHeadModel,
    "interleaved_continuous": InterleavedModel,
    "one_step_continuous": PolicyHeadModel,
    "one_step_discrete": OneStepDiscreteModel,
}


def build_vla_model(config: ModelConfig, backbone: Backbone) -> VlaModel:
    """Return a model around a backbone; everything else has new, random weights.

    Raises:
        ValueError: Configuration and backbone do not fit.
    """
    return STRUCTURES[config.structure](config, backbone)


def build_model_without_weights(config: ModelConfig, backbone_dir: Path) -> VlaModel:
    """Return the model of a configuration, its parameters on the meta device.

    Raises:
        CheckpointError: The backbone's folder does not fit the configuration.
    """
    try:
        backbone = build_backbone_without_weights(config.backbone, backbone_dir)
    except CheckpointError:
        raise
    except Exception as error:  # a wrong number in a foreign configuration surfaces in many ways
        sentence = (
            f"{backbone_dir}: no model can be built from this configuration: {type(error).__name__}: {error}"
        )
        raise CheckpointError(sentence) from error
    try:
        with init_empty_weights(include_buffers=False):
            return build_vla_model(config, backbone)
    except ValueError as error:
        raise CheckpointError(f"{backbone_dir}: {error}") from error
