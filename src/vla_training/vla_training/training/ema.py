# SPDX-License-Identifier: Apache-2.0
"""A moving average of the trained weights: steadier than the last step's (Polyak and Juditsky, 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Follows the trainable weights of a module.

    Args:
        module: The module.
        decay: Share that stays at each update; smaller at the beginning, so that the start is forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._num_updates = 0
        self._weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a new step into the average."""
        self._num_updates += 1
        decay = min(self._decay, (1 + self._num_updates) / (10 + self._num_updates))
        for name, average in self._average.items():
            average.lerp_(self._weights[name].detach(), 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the module, and the weights back at the end."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """Return what ``load_state_dict`` takes back."""
        return {**self._average, "": torch.tensor(self._num_updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with an average."""
        self._num_updates = int(state[""])
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self._average.items():
            weight = self._weights[name].data
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
