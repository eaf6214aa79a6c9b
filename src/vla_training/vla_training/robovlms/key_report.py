# SPDX-License-Identifier: Apache-2.0
"""Which tensor of a RoboVLMs checkpoint goes where: mapped, ignored with a reason, or missing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vla_core.errors import CheckpointError
from vla_core.model.config import BackboneKind, Precision
from vla_core.model.tensor_file import require_weight
from vla_core.model.weights import Shape
from vla_training.robovlms.foreign_weights import ForeignWeights
from vla_training.robovlms.keys import Placement, place_robovlms_key, weight_scales, whole_key

_SHOWN = 4  # names in a sentence


@dataclass(frozen=True, kw_only=True)
class KeyReport:
    """What became of every key of a checkpoint.

    Attributes:
        mapped: Our name of each tensor that was taken, by its name in the file.
        ignored: Why an entry was not taken, by its name in the file.
        missing: Our names of tensors that the file does not hold.
        notes: What else is not as it was, one sentence each.
    """

    mapped: Mapping[str, str]
    ignored: Mapping[str, str]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def to_plain(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "mapped": dict(self.mapped),
            "ignored": dict(self.ignored),
            "missing": list(self.missing),
            "notes": list(self.notes),
        }

    def table(self) -> str:
        """Return the report for people, one line per reason."""
        lines = [f"mapped  {len(self.mapped):6d}"]
        lines += [f"ignored {n:6d}  {reason}" for reason, n in Counter(self.ignored.values()).most_common()]
        lines += [f"missing {len(self.missing):6d}", *(f"  {name}" for name in self.missing)]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


class MissingTensorsError(CheckpointError):
    """A checkpoint lacks tensors that the model needs.

    Attributes:
        report: What became of every key.
    """

    def __init__(self, message: str, report: KeyReport) -> None:
        super().__init__(message)
        self.report = report


def match_keys(
    weights: ForeignWeights,
    expected: Mapping[str, Shape],
    backbone: BackboneKind,
    *,
    where: str,
    notes: tuple[str, ...] = (),
) -> KeyReport:
    """Return where each tensor of a file goes.

    Args:
        weights: The file's tensors.
        expected: Shape of each tensor of our model, by our names.
        backbone: Kind of the model's backbone.
        where: File name that begins each error sentence.
        notes: For the report.

    Raises:
        MissingTensorsError: A tensor of our model is not in the file.
        CheckpointError: A tensor has no place, two have the same place, or a shape differs.
    """
    mapped: dict[str, str] = {}
    ignored = dict(weights.others)
    taken: dict[str, str] = {}
    for key, tensor in weights.tensors.items():
        place = _place(key, backbone, expected, where)
        if place.name is None:
            ignored[key] = place.reason
        elif place.name not in taken:
            mapped[key] = place.name
            taken[place.name] = key
        elif torch.equal(weights.tensors[taken[place.name]], tensor):
            ignored[key] = "the same tensor a second time"
        else:
            raise CheckpointError(
                f"{where}: '{taken[place.name]}' and '{key}' are the same weight with different numbers; keep one"
            )
    report = KeyReport(
        mapped=mapped, ignored=ignored, missing=tuple(sorted(expected.keys() - taken.keys())), notes=notes
    )
    _require_complete(report, len(expected), where)
    _require_same_shapes(report, weights.tensors, expected, where)
    return report


def renamed_tensors(
    report: KeyReport,
    tensors: Mapping[str, Tensor],
    backbone: BackboneKind,
    precision: Precision,
    *,
    embed_dim: int,
    where: str,
) -> dict[str, Tensor]:
    """Return the mapped tensors under our names, at the scale of our backbone.

    Args:
        report: From ``match_keys``.
        tensors: The file's.
        backbone: Kind of the model's backbone.
        precision: Type that the weights will be run in.
        embed_dim: D, width of the backbone.
        where: File name that begins each error sentence.

    Raises:
        CheckpointError: A tensor holds NaN, Inf or whole numbers, or does not fit into the precision.
    """
    names = report.mapped.values()
    scales = weight_scales(map(whole_key, tensors), backbone, embed_dim, names)
    ours = {}
    for key, name in report.mapped.items():
        require_weight(tensors[key], key, getattr(torch, precision), where=where)
        ours[name] = tensors[key].float() * scales[name] if name in scales else tensors[key]
    return ours


def _place(key: str, backbone: BackboneKind, expected: Mapping[str, Shape], where: str) -> Placement:
    try:
        return place_robovlms_key(whole_key(key), backbone, expected)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from None


def _require_complete(report: KeyReport, num_expected: int, where: str) -> None:
    if report.missing:
        names = ", ".join(f"'{name}'" for name in report.missing[:_SHOWN])
        more = f" and {len(report.missing) - _SHOWN} more" if len(report.missing) > _SHOWN else ""
        raise MissingTensorsError(
            f"{where}: {len(report.missing)} of {num_expected} tensors are missing: {names}{more}. Give the "
            "configuration and the backbone that the checkpoint was trained with, and the whole checkpoint",
            report,
        )


def _require_same_shapes(
    report: KeyReport, tensors: Mapping[str, Tensor], expected: Mapping[str, Shape], where: str
) -> None:
    wrong = [
        f"'{key}' {tuple(tensors[key].shape)} instead of {tuple(expected[name])}"
        for key, name in report.mapped.items()
        if tuple(tensors[key].shape) != tuple(expected[name])
    ]
    if wrong:
        raise CheckpointError(
            f"{where}: {len(wrong)} tensors have another shape than configuration and backbone describe: "
            f"{', '.join(wrong[:_SHOWN])}. Give those that the checkpoint was trained with"
        )
