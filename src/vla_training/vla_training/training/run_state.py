# SPDX-License-Identifier: Apache-2.0
"""What a run goes on with: trained weights, optimizer, average, number of the step.

Nothing random is kept: what a step draws follows from the seed and the step's number. Weights that are not trained
are not kept either: they are those of the start.
"""

import math
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from lightning.fabric.strategies import FSDPStrategy

from vla_core.errors import ConfigError
from vla_training.training.loop import Learner


class RunState:
    """Saves and loads the state of a learner, whole or not at all.

    Args:
        fabric: The processes.
        learner: What is saved.
        path: The file.

    Attributes:
        best: Smallest validation loss until now.
    """

    def __init__(self, fabric: Fabric, learner: Learner, path: Path) -> None:
        self._fabric, self._learner, self._path = fabric, learner, path
        self.best = math.inf

    def save(self) -> None:
        """Write the state in the place of the one before."""
        partial = self._path.with_name(f".{self._path.name}")
        objective: Any = self._learner.module.module  # as it was before fabric wrapped it: the state names it so
        trained = {name for name, weight in objective.named_parameters() if weight.requires_grad}
        keeps_all = isinstance(self._fabric.strategy, FSDPStrategy)  # its shards cannot be told apart by name
        only = None if keeps_all else {"module": lambda name, _: name in trained}
        try:
            self._fabric.save(partial, self._contents(), filter=only)
        except BaseException:
            partial.unlink(missing_ok=True)  # half a state takes the room that others need
            raise
        if self._fabric.is_global_zero:
            partial.replace(self._path)
        self._fabric.barrier()

    def load(self) -> None:
        """Put a saved state into the learner; without one the run begins at its beginning.

        Raises:
            ConfigError: The file is damaged or belongs to another model.
        """
        if not self._path.exists():
            return
        contents = self._contents()
        try:
            rest = self._fabric.load(self._path, contents, strict=False)
        except Exception as error:  # a damaged file surfaces in many ways
            raise ConfigError(
                f"{self._path}: cannot be read: {error}. Begin another run (--out) from checkpoints/last"
            ) from error
        assert not rest, f"{self._path} holds {sorted(rest)}, which nobody reads"
        self._learner.step, self.best = int(contents["step"]), float(contents["best"])
        if self._learner.average is not None:
            self._learner.average.load_state_dict(contents["average"])

    def _contents(self) -> dict[str, Any]:
        average = self._learner.average
        return {
            "module": self._learner.module,
            "optimizer": self._learner.optimizer,
            "step": self._learner.step,
            "best": self.best,
            "average": average.state_dict() if average else {},
        }
