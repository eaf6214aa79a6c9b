# SPDX-License-Identifier: Apache-2.0
"""A checkpoint: a directory that holds everything a policy needs and nothing of the machine that made it.

```
model.safetensors   all weights
model.yaml          CheckpointCard: the model's configuration, meaning of its actions, rate, robot it was made for
statistics.json     of the data that it was trained on
adapter/            low-rank adapters that are added to the weights, where they are kept apart
backbone/           configuration, tokenizer and processor files of the vision-language model (no weights)
training.yaml       the resolved settings of the run
README.md           the numbers it reached, or that it is untrained
```

It loads offline, never unpickles, and appears under its name only when it is complete.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from vla_core.atomic_exchange import exchange
from vla_core.checkpoint_card import CheckpointCard
from vla_core.config import load_config, read_yaml, require_all_keys, to_plain
from vla_core.errors import CheckpointError, ConfigError
from vla_core.model.build import build_model_without_weights
from vla_core.model.lora import has_adapter, load_adapter, save_adapter
from vla_core.model.lora import merge_adapter as merge_adapter_of
from vla_core.model.prompt import PromptTokenizer
from vla_core.model.vla import VlaModel
from vla_core.model.weights import load_weights, needs_adapter, save_weights

WEIGHTS, CARD, STATISTICS, ADAPTER, BACKBONE, TRAINING, README = (
    "model.safetensors",
    "model.yaml",
    "statistics.json",
    "adapter",
    "backbone",
    "training.yaml",
    "README.md",
)
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".index.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        model: The model with its weights.
        card: The facts of ``model.yaml``.
        tokenizer: Turns sentences into the model's tokens.
        backbone_dir: Folder with the backbone's configuration and tokenizer files.
        statistics: Of the training data; plain values.
        training: Resolved settings of the run; plain values.
    """

    model: VlaModel
    card: CheckpointCard
    tokenizer: PromptTokenizer
    backbone_dir: Path
    statistics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def load_checkpoint(
    directory: Path | str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    *,
    keep_adapter: bool = False,
) -> Checkpoint:
    """Return the checkpoint in a directory, its model in evaluation mode.

    Args:
        directory: A checkpoint directory.
        device: Where the model goes.
        dtype: Type of the weights; ``None`` takes the precision that the checkpoint asks for.
        keep_adapter: Keep an adapter apart, to train it further, instead of adding it to the weights.

    Raises:
        CheckpointError: Something is missing, damaged or contradictory; the sentence names it.
    """
    directory = Path(directory)
    _require_complete(directory)
    try:
        card = load_config(directory / CARD, CheckpointCard)
        require_all_keys(card, read_yaml(directory / CARD), str(directory / CARD))
        training = read_yaml(directory / TRAINING) or {}
        if not isinstance(training, dict):
            raise ConfigError(f"{directory / TRAINING}: expected a mapping, found {type(training).__name__}")
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    model = build_model_without_weights(card.model, directory / BACKBONE)
    dtype = dtype or getattr(torch, card.model.precision)
    load_weights(model, directory / WEIGHTS, device=torch.device(device), dtype=dtype)
    if (directory / ADAPTER).exists() or needs_adapter(directory / WEIGHTS):
        load_adapter(model.backbone.generator, directory / ADAPTER)
        if not keep_adapter:
            merge_adapter_of(model.backbone.generator, where=str(directory / ADAPTER))
    return Checkpoint(
        model=model.eval(),
        card=card,
        tokenizer=load_tokenizer(model, directory / BACKBONE),
        backbone_dir=directory / BACKBONE,
        statistics=_read_statistics(directory / STATISTICS),
        training=training,
    )


def load_tokenizer(model: VlaModel, backbone_dir: Path) -> PromptTokenizer:
    """Return the tokenizer of a backbone's folder with the model's prompt and limit."""
    return PromptTokenizer.load(backbone_dir, prompt=model.config.prompt, max_tokens=model.max_text_tokens)


def save_checkpoint(
    checkpoint: Checkpoint,
    directory: Path | str,
    *,
    results: Mapping[str, float] | None = None,
    merge_adapter: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a checkpoint; return its directory. A crash leaves either the whole checkpoint or none.

    Args:
        checkpoint: What to write.
        directory: Where; its parents are made.
        results: Numbers that it reached, for the README.
        merge_adapter: Add adapters to the weights instead of keeping them in a folder of their own.
        overwrite: Replace a checkpoint that is there.

    Raises:
        CheckpointError: The directory cannot be made, or exists and is not to be, or may not be, replaced.
    """
    directory = Path(directory)
    _require_replaceable(directory, overwrite)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        sentence = f"{directory}: no directory can be made there: {error.strerror}. Choose another place"
        raise CheckpointError(sentence) from error
    try:
        partial.chmod(0o755)  # mkdtemp makes it private
        _write_files(checkpoint, partial, results or {}, merge=merge_adapter)
        _move_into_place(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _write_files(checkpoint: Checkpoint, directory: Path, results: Mapping[str, float], *, merge: bool) -> None:
    save_weights(checkpoint.model, directory / WEIGHTS, merge_adapter=merge)
    if has_adapter(checkpoint.model) and not merge:
        save_adapter(checkpoint.model.backbone.generator, directory / ADAPTER)
    _write_yaml(directory / TRAINING, to_plain(checkpoint.training))
    (directory / STATISTICS).write_text(
        json.dumps(to_plain(checkpoint.statistics), indent=2) + "\n", encoding="utf-8"
    )
    (directory / README).write_text(_readme(checkpoint, results), encoding="utf-8")
    (directory / BACKBONE).mkdir()
    for file in sorted(checkpoint.backbone_dir.iterdir()):
        if file.is_file() and not file.name.endswith(_WEIGHT_SUFFIXES):
            shutil.copyfile(file, directory / BACKBONE / file.name)
    # Last, because nothing loads without it: a save that is killed leaves a folder that is no checkpoint.
    _write_yaml(directory / CARD, to_plain(checkpoint.card))


def _readme(checkpoint: Checkpoint, results: Mapping[str, float]) -> str:
    card = checkpoint.card
    if card.is_trained:
        lines = [f"- {name}: {value:.4g}" for name, value in results.items()] or ["No numbers were recorded."]
        state = "\n".join(["Trained. It reached:", "", *lines])
    else:
        seed = checkpoint.training.get("seed", "unknown")
        state = (
            f"**UNTRAINED: random weights, seed {seed}.** It has learned nothing: it moves the arm the same "
            "way whatever the sentence says. It is good for trying the machinery, not for a task."
        )
    return (
        f"# Policy checkpoint\n\n{state}\n\n"
        f"Robot: {card.robot.name}. Cameras: {', '.join(card.model.cameras)}. Rate: {1.0 / card.period_s:g} Hz. "
        f"Window: {card.model.window_size} ticks. Chunk: {card.model.chunk_size} actions, "
        f"frame `{card.action_space.frame}`. Backbone: {card.model.backbone}.\n\n"
        "`model.yaml` holds every fact; `training.yaml` the settings of the run.\n"
    )


def _write_yaml(path: Path, data: Any) -> None:
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _read_statistics(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def _require_complete(directory: Path) -> None:
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory}: no such directory. Give a checkpoint directory, "
            "or make an untrained one with init_checkpoint"
        )
    for name in (CARD, WEIGHTS, STATISTICS, TRAINING, BACKBONE):
        if not (directory / name).exists():
            raise CheckpointError(f"{directory}: '{name}' is missing; copy the whole checkpoint directory")


def _require_replaceable(directory: Path, overwrite: bool) -> None:
    if not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not overwrite:
        raise CheckpointError(f"{directory}: exists already. Choose another directory, or ask to overwrite it")
    if not (directory / CARD).is_file():
        raise CheckpointError(f"{directory}: exists and is not a checkpoint; it will not be overwritten")


def _move_into_place(partial: Path, directory: Path) -> None:
    if not directory.exists():
        partial.rename(directory)
        return
    if not exchange(partial, directory):
        old = partial.with_name(partial.name + ".old")
        directory.rename(old)
        partial.rename(directory)
        partial = old
    shutil.rmtree(partial)
