# SPDX-License-Identifier: Apache-2.0
"""Sentences into token ids, with the checkpoint's prompt around them.

Sentences are cleaned here, so that training and a robot read the same text. Nothing is truncated: too long is an
error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer

from vla_core.errors import CheckpointError, InstructionError
from vla_core.instruction import clean_instruction
from vla_core.model.config import INSTRUCTION_SLOT, PromptConfig

# Room for the special words that some tokenizers keep at the end.
_SPARE_IDS = 32


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of tokenised sentences, padded on the right.

    Attributes:
        ids: (B, L) token ids.
        mask: (B, L) 1 at tokens, 0 at padding.
        sentences: What was tokenised, without the prompt.
        has_padding: False where all sentences are known to be equally long; attention then needs no mask.
    """

    ids: Tensor
    mask: Tensor
    sentences: tuple[str, ...] = ()
    has_padding: bool = True

    def lengthened(self, length: int) -> "Tokens":
        """Return the tokens padded to a length, for a reader that never looks behind [LRN] and needs no mask."""
        more = max(length - self.ids.shape[1], 0)
        ids_BL, mask_BL = (functional.pad(values, (0, more)) for values in (self.ids, self.mask))
        return replace(self, ids=ids_BL, mask=mask_BL, has_padding=False)

    def to(self, device: torch.device | str) -> "Tokens":
        """Return the tokens on a device."""
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device))


class PromptTokenizer:
    """Turns instructions into tokens.

    Args:
        tokenizer: A Hugging Face tokenizer.
        prompt: The text around an instruction.
        max_tokens: Most tokens of text, with those that the tokenizer adds, that leave room for everything else.

    Raises:
        CheckpointError: The text has fewer tokens than the prompt puts around the pictures and [LRN].
    """

    def __init__(self, tokenizer: Any, *, prompt: PromptConfig, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._pad_id = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._control_words = tuple(tokenizer.get_added_vocab())
        ids = self._ids("")
        needed = prompt.tokens_before_pictures + prompt.tokens_after_lrn
        if len(ids) < needed or (prompt.special_tokens and needed and ids == self._ids("", special_tokens=False)):
            raise CheckpointError(
                f"the tokenizer makes {ids} of the prompt {prompt.text!r}: it lacks the first or last token that "
                f"the prompt counts on ({prompt.tokens_before_pictures} before the pictures, "
                f"{prompt.tokens_after_lrn} behind [LRN])"
            )

    @classmethod
    def load(cls, folder: Path, *, prompt: PromptConfig, max_tokens: int) -> Self:
        """Return the tokenizer in a Hugging Face folder.

        Raises:
            CheckpointError: The folder holds no readable tokenizer.
        """
        return cls(read_tokenizer(folder), prompt=prompt, max_tokens=max_tokens)

    def __call__(self, instructions: Sequence[str]) -> Tokens:
        """Return a batch of instructions as tokens.

        Raises:
            InstructionError: A sentence is empty, not a sentence, too long, or holds text that the tokenizer takes
                for control.
        """
        rows = [self._encode(instruction) for instruction in instructions]
        ids_BL = torch.full((len(rows), max(map(len, rows))), self._pad_id, dtype=torch.long)
        mask_BL = torch.zeros_like(ids_BL)
        for i, row in enumerate(rows):
            ids_BL[i, : len(row)] = torch.tensor(row)
            mask_BL[i, : len(row)] = 1
        return Tokens(ids_BL, mask_BL, tuple(instructions), has_padding=len({len(row) for row in rows}) > 1)

    def _encode(self, instruction: str) -> list[int]:
        sentence = clean_instruction(instruction)
        if not sentence:
            raise InstructionError("the instruction is empty; send a sentence")
        for word in self._control_words:
            if word in sentence:
                raise InstructionError(
                    f"the instruction holds '{word}', a control word of the model; leave it out"
                )
        ids = self._ids(sentence)
        if len(ids) > self._max_tokens:
            raise InstructionError(
                f"the instruction is {len(ids)} tokens long with its prompt, the model reads at most "
                f"{self._max_tokens}. Say it in fewer words (it begins '{sentence[:40]}')"
            )
        return ids

    def _ids(self, sentence: str, *, special_tokens: bool | None = None) -> list[int]:
        text = self._prompt.text.replace(INSTRUCTION_SLOT, sentence)
        adds = self._prompt.special_tokens if special_tokens is None else special_tokens
        ids: list[int] = self._tokenizer(text, add_special_tokens=adds)["input_ids"]
        return ids


def action_token_end(folder: Path) -> int:
    """Return the id below which action tokens go in a new model: near the vocabulary's end, where words are rare.

    Raises:
        CheckpointError: The folder holds no readable tokenizer.
    """
    return int(read_tokenizer(folder).vocab_size) - _SPARE_IDS


def read_tokenizer(folder: Path) -> Any:
    """Return the Hugging Face tokenizer in a folder.

    Raises:
        CheckpointError: The folder holds no readable tokenizer.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the Rust tokenizer raises bare Exception for a broken file
        found = ", ".join(sorted(path.name for path in folder.glob("*token*"))) or "none"
        raise CheckpointError(
            f"{folder}: cannot load the tokenizer (files: {found}): {_first_line(error)}. Copy all of its files, "
            "tokenizer.json above all, from where the backbone was published"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
