# SPDX-License-Identifier: Apache-2.0
"""What parallel streams remember between ticks."""

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class History:
    """A value, owned by whoever runs the streams; structures and heads with a memory add to it.

    Attributes:
        num_ticks: (B,) int64 ticks since each stream's start. A stream with 0 starts afresh, whatever else its
            history holds.
    """

    num_ticks: Tensor

    def restart(self, is_new_B: Tensor) -> Self:
        """Return the history in which the streams that are marked True have seen nothing."""
        return replace(self, num_ticks=self.num_ticks.masked_fill(is_new_B, 0))
