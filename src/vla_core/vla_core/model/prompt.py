# SPDX-License-Identifier: Apache-2.0
"""Sentences into token ids, with the checkpoint's prompt around them.

Sentences are cleaned here, so that training and a robot read the same text. Nothing is truncated: too long is an
error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoTokenizer

from vla_core.errors import CheckpointError, InstructionError
from vla_core.instruction import clean_instruction
from vla_core.model.config import INSTRUCTION_SLOT


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of tokenised sentences: ``[BOS][text][EOS]``, padded on the right.

    Attributes:
        ids: (B, L) token ids.
        mask: (B, L) 1 at tokens, 0 at padding.
    """

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """Return the tokens on a device."""
        return Tokens(self.ids.to(device), self.mask.to(device))


class PromptTokenizer:
    """Turns instructions into tokens.

    Args:
        tokenizer: A Hugging Face tokenizer that adds BOS and EOS.
        prompt: Template with ``{instruction}`` in it.
        max_tokens: Most tokens of text, BOS and EOS included, that leave room for pictures and [LRN].

    Raises:
        CheckpointError: The tokenizer does not add BOS and EOS.
    """

    def __init__(self, tokenizer: Any, *, prompt: str, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._max_tokens = max_tokens
        self._control_words = tuple(tokenizer.get_added_vocab())
        ids = tokenizer(prompt)["input_ids"]
        if len(ids) < 2 or ids[0] != tokenizer.bos_token_id or ids[-1] != tokenizer.eos_token_id:
            raise CheckpointError(
                "the tokenizer does not put BOS before and EOS after a text, found ids " + str(ids)
            )

    @classmethod
    def load(cls, folder: Path, *, prompt: str, max_tokens: int) -> Self:
        """Return the tokenizer in a Hugging Face folder.

        Raises:
            CheckpointError: The folder holds no readable tokenizer.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # the Rust tokenizer raises bare Exception for a broken file
            raise CheckpointError(f"{folder}: cannot load the tokenizer: {error}") from error
        return cls(tokenizer, prompt=prompt, max_tokens=max_tokens)

    def __call__(self, instructions: Sequence[str]) -> Tokens:
        """Return a batch of instructions as tokens.

        Raises:
            InstructionError: A sentence is empty, not a sentence, too long, or holds text that the tokenizer takes
                for control.
        """
        rows = [self._encode(instruction) for instruction in instructions]
        ids_BL = torch.full((len(rows), max(map(len, rows))), self._tokenizer.pad_token_id, dtype=torch.long)
        mask_BL = torch.zeros_like(ids_BL)
        for i, row in enumerate(rows):
            ids_BL[i, : len(row)] = torch.tensor(row)
            mask_BL[i, : len(row)] = 1
        return Tokens(ids_BL, mask_BL)

    def _encode(self, instruction: str) -> list[int]:
        sentence = clean_instruction(instruction)
        if not sentence:
            raise InstructionError("the instruction is empty; send a sentence")
        for word in self._control_words:
            if word in sentence:
                raise InstructionError(
                    f"the instruction holds '{word}', a control word of the model; leave it out"
                )
        ids: list[int] = self._tokenizer(self._prompt.replace(INSTRUCTION_SLOT, sentence))["input_ids"]
        if len(ids) > self._max_tokens:
            raise InstructionError(
                f"the instruction is {len(ids)} tokens long with its prompt, the model reads at most "
                f"{self._max_tokens}. Say it in fewer words (it begins '{sentence[:40]}')"
            )
        return ids
