# SPDX-License-Identifier: Apache-2.0
"""Questions and answers about pictures, which keep a backbone's language while it learns to act.

The transformers model reads question and answer in its own format, as ``answer.py`` asks it; the loss is the
cross-entropy of the answer's words.

Shapes: L tokens, Y vocabulary, S image side.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from vla_core.errors import ConfigError
from vla_core.images import ImageSpec
from vla_core.model.answer import Answerer
from vla_core.model.backbone import Backbone
from vla_core.model.pictures import preprocess
from vla_core.types import RgbImage

_IGNORED = -100


@dataclass(frozen=True)
class Example:
    """A question about a picture, and its answer.

    Attributes:
        image: File of the picture.
        question: Plain text.
        answer: Plain text.
    """

    image: Path
    question: str
    answer: str

    def picture(self) -> RgbImage:
        """Return the picture, (H, W, 3) uint8.

        Raises:
            ConfigError: The file is no picture.
        """
        try:
            with Image.open(self.image) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, UnidentifiedImageError, ValueError) as error:
            raise ConfigError(f"{self.image}: not readable as a picture: {error}") from error


def read_examples(path: Path) -> tuple[Example, ...]:
    """Return the examples of a file of JSON lines; pictures are looked up beside it.

    Raises:
        ConfigError: A line does not hold ``image``, ``question`` and ``answer``, or there is none.
    """
    examples = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            example = Example(path.parent / row["image"], str(row["question"]), str(row["answer"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: line {number} does not hold image, question and answer as JSON: {error!r}"
            ) from error
        examples.append(example)
    if not examples:
        raise ConfigError(f"{path}: holds no example; leave the section cotraining out")
    return tuple(examples)


def question_inputs(
    answerer: Answerer, spec: ImageSpec, picture: RgbImage, question: str, answer: str
) -> dict[str, Any]:
    """Return the arguments of the transformers model for a question with its answer, and ``labels`` (1, L).

    Args:
        answerer: The backbone and its tokenizer.
        spec: Size and normalisation of pictures.
        picture: (H, W, 3) uint8.
        question: Plain text.
        answer: Plain text; its words and the end of the text are what is learned.

    Raises:
        InstructionError: The question is empty or holds a control word.
    """
    device = next(answerer.backbone.generator.parameters()).device
    image = preprocess([picture], spec, device=device)[0]
    inputs = answerer.inputs(question, image, answer)
    labels_1L = inputs["input_ids"].clone()
    labels_1L[:, : -len(answerer.answer_ids(answer))] = _IGNORED
    return {**inputs, "labels": labels_1L}


def answer_loss(backbone: Backbone, inputs: Mapping[str, Any]) -> Tensor:
    """Return the cross-entropy of the labelled words, a scalar."""
    arguments = {name: value for name, value in inputs.items() if name != "labels"}
    scores_1LY = backbone.generator(**arguments, use_cache=False).logits
    labels_1L = torch.as_tensor(inputs["labels"])[:, 1:]
    scored_LY = scores_1LY[:, :-1].flatten(0, 1).float()
    return functional.cross_entropy(scored_LY, labels_1L.flatten(), ignore_index=_IGNORED)
