# SPDX-License-Identifier: Apache-2.0
"""RoboVLMs' names of weights and ours.

The original saves the tied language-model head, and the action head a second time as ``model.lm_head``; both are
left out here.
"""

from collections.abc import Mapping

from torch import Tensor

from vla_core.errors import CheckpointError

# The first prefix that fits counts; None drops the tensor.
_RENAMED_PREFIXES: tuple[tuple[str, str | None], ...] = (
    ("model.backbone.text_model.lm_head.", None),
    ("model.backbone.", "backbone.model."),
    ("model.act_head.", "head."),
    ("model.lm_head.", None),
    ("model.action_token", "lrn_token"),
)


def rename_robovlms_key(key: str) -> str | None:
    """Return our name of a RoboVLMs tensor, or ``None`` for a duplicate that we do not keep.

    Raises:
        CheckpointError: The name belongs to no part of the model that we know.
    """
    for theirs, ours in _RENAMED_PREFIXES:
        if key.startswith(theirs):
            return None if ours is None else ours + key.removeprefix(theirs)
    known = ", ".join(prefix for prefix, _ in _RENAMED_PREFIXES)
    raise CheckpointError(f"tensor '{key}' is not part of a RoboVLMs LSTM policy (known beginnings: {known})")


def from_robovlms(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return RoboVLMs' tensors under our names."""
    renamed = ((rename_robovlms_key(key), tensor) for key, tensor in tensors.items())
    return {key: tensor for key, tensor in renamed if key is not None}
