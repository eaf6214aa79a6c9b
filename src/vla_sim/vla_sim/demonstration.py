# SPDX-License-Identifier: Apache-2.0
"""What a demonstration of a task and a seed is, whether it is recorded as a bag or given as a lesson."""

import numpy as np

STILL_S = 0.4
"""The arm stands still for so long before the first action and after the last one."""


def sentence_of(task: str, seed: int) -> str:
    """Return the sentence that is said.

    Raises:
        VlaError: There is no such task.
    """
    from vla_sim.tasks import task_named  # MuJoCo, which must not be imported before its backend is chosen

    sentences = task_named(task).sentences
    return sentences[int(np.random.default_rng(seed).integers(len(sentences)))]


def note_of(task: str, seed: int) -> str:
    """Return what is noted beside it."""
    return f"scripted expert, task {task}, seed {seed}"
