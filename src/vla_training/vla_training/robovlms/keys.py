# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' names of weights and ours.

The original saves the tied head that predicts words, the action head a second time as ``model.lm_head``, and
buffers that are computed; those are left out here. Its backbones have the names of transformers 4.37 (Kosmos-2) or
4.44 (PaliGemma), ours those of transformers 5.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from vla_core.errors import CheckpointError
from vla_core.model.config import BackboneKind

_WRAPPERS = ("_forward_module.", "module.")  # of Lightning's DeepSpeed strategy and of data parallelism
_BACKBONE = "model.backbone."
_PARTS = ((_BACKBONE, "backbone.model."), ("model.act_head.", "head."), ("model.vision_resampler.", "resampler."))
_RENAMED: dict[BackboneKind, tuple[tuple[str, str], ...]] = {
    "kosmos2": (),
    "paligemma": (
        ("language_model.model.", "model.language_model."),
        ("language_model.lm_head.", "lm_head."),
        ("vision_tower.vision_model.", "model.vision_tower."),
        ("model.vision_tower.vision_model.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
    ),
}
BACKBONES = tuple(_RENAMED)
_DROPPED_PARTS = (
    ("model.lm_head.", "the action head a second time"),
    ("model.clip_norm_head.", "language regulariser, used in training alone"),
    ("model.fwd_head.", "prediction of future pictures, which does not run in the original"),
    ("model.static_image_tokens", "prediction of future pictures, which does not run in the original"),
    ("model.hand_image_tokens", "prediction of future pictures, which does not run in the original"),
    ("model.embed_arm_state.", "state input, which does not run in the original"),
    ("model.embed_gripper_state.", "state input, which does not run in the original"),
    ("model.embed_state.", "state input, which does not run in the original"),
)
_COMPUTED = (".attn.bias", ".attn.masked_bias", ".position_ids", ".inv_freq", ".embed_positions.weights")


@dataclass(frozen=True)
class Placement:
    """Where a tensor of the original goes.

    Attributes:
        name: Our name, or ``None``.
        reason: Why it goes nowhere; empty otherwise.
    """

    name: str | None
    reason: str = ""


def whole_key(key: str) -> str:
    """Return a name as the original's evaluation reads it: no wrapper in front, ``model.`` in front."""
    while key.startswith(_WRAPPERS):
        key = key.partition(".")[2]
    return key if key.startswith("model.") else f"model.{key}"


def place_robovlms_key(key: str, backbone: BackboneKind, ours: Container[str]) -> Placement:
    """Return where a tensor goes.

    Args:
        key: From ``whole_key``.
        backbone: Kind of the model's backbone.
        ours: Names of the tensors that our model stores.

    Raises:
        CheckpointError: It is a weight of a part that our model has, but has no place there.
    """
    for part, reason in _DROPPED_PARTS:
        if key.startswith(part):
            return Placement(None, reason)
    if key == "model.action_token":
        return (
            Placement("lrn_token") if "lrn_token" in ours else Placement(None, "the configuration reads no [LRN]")
        )
    name = _our_name(key, backbone)
    if name is None:
        return Placement(None, "belongs to no part of the model that runs")
    if name in ours:
        return Placement(name)
    if key.endswith(_COMPUTED):
        return Placement(None, "computed, not learned")
    if name.endswith("lm_head.weight"):
        return Placement(None, "tied to the word embeddings")
    raise CheckpointError(
        f"tensor '{key}' has no place in the model that the configuration describes. Checkpoint and configuration "
        "(heads, layers, resampler, backbone) belong to different models"
    )


def weight_scales(
    keys: Iterable[str], backbone: BackboneKind, embed_dim: int, ours: Container[str]
) -> dict[str, float]:
    """Return the factors of the weights whose scale differs from ours, by our names.

    Up to transformers 4, Gemma multiplied everything that it read by sqrt(D), and RoboVLMs divided its picture
    tokens by that before. Since 5 the table of words already holds the factor, so a token from outside the table
    must bring it along. A resampler stands between division and multiplication: it goes on reading divided
    tokens, and its last layer multiplies.
    """
    old = (".language_model.model.", ".vision_tower.vision_model.")
    if backbone != "paligemma" or not any(part in key for key in keys for part in old):
        return {}
    root = embed_dim**0.5
    scales = {"lrn_token": root}
    if "resampler.norm.weight" in ours:
        for part in ("weight", "bias"):
            scales[f"backbone.model.model.multi_modal_projector.linear.{part}"] = 1.0 / root
            scales[f"resampler.norm.{part}"] = root
    return scales


def _our_name(key: str, backbone: BackboneKind) -> str | None:
    for theirs, ours in _PARTS:
        if key.startswith(theirs):
            rest = key.removeprefix(theirs)
            return ours + (_in_transformers_5(rest, backbone) if theirs == _BACKBONE else rest)
    return None


def _in_transformers_5(name: str, backbone: BackboneKind) -> str:
    for old, new in _RENAMED[backbone]:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
