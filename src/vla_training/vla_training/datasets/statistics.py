# SPDX-License-Identifier: Apache-2.0
"""Statistics of a source's actions, kept in the checkpoint that learned from them."""

from typing import Any

import numpy as np

from vla_core.actions.action_space import MOTION_NAMES, ActionSpace
from vla_core.actions.normalization import NormalizationSpec
from vla_core.geometry import FloatArray
from vla_training.datasets.dataset_error import DatasetError
from vla_training.datasets.frame_store import FrameStore
from vla_training.datasets.policy_actions import units_of_actions

# A checkpoint remembers sentences to warn of others; it is no copy of a large dataset's.
_MAX_INSTRUCTIONS = 2000


def used_units(store: FrameStore, space: ActionSpace) -> FloatArray:
    """Return (F, 6) the motions of a split in units of the policy's scale, without those that no sample uses."""
    numbers = store.numbers
    is_end = np.isin(numbers.ids, [annotation.end for annotation in store.annotations])
    return units_of_actions(numbers, store.card.action_space, space)[~is_end]


def action_statistics(store: FrameStore, units: FloatArray) -> dict[str, Any]:
    """Return plain data about a source: sizes, and numbers for each dimension in units of the policy's scale."""
    low, high = np.percentile(units, [1, 99], axis=0) if len(units) else np.zeros((2, 6))
    rows = {"q01": low, "q99": high}
    if len(units):
        rows |= {"mean": units.mean(0), "std": units.std(0), "min": units.min(0), "max": units.max(0)}
    position_m = store.numbers.robot_obs[:, :3]
    places = np.percentile(position_m, [1, 99], axis=0) if len(position_m) else np.zeros((2, 3))
    instructions = sorted({annotation.instruction for annotation in store.annotations})
    return {
        "dataset": store.folder.parent.name,
        "split": store.folder.name,
        "num_annotations": len(store.annotations),
        "num_instructions": len(instructions),
        "instructions": instructions[:_MAX_INSTRUCTIONS],
        "tcp_position_m": {"q01": places[0].tolist(), "q99": places[1].tolist()},
        "num_actions": len(units),
        "dimensions": list(MOTION_NAMES),
        **{name: [float(value) for value in row] for name, row in rows.items()},
    }


def percentile_range(units: FloatArray) -> NormalizationSpec:
    """Return the range between the 1st and the 99th percentile of each dimension.

    Raises:
        DatasetError: A dimension does not vary.
    """
    low, high = np.percentile(units, [1, 99], axis=0)
    flat = [name for name, a, b in zip(MOTION_NAMES, low, high, strict=True) if not a < b]
    if flat:
        raise DatasetError(
            f"actions: {', '.join(flat)} does not vary between the 1st and the 99th percentile, so it cannot be "
            "normalised by them. Use a fixed range (data.normalization: fixed)"
        )
    return NormalizationSpec(low=tuple(low.tolist()), high=tuple(high.tolist()))
