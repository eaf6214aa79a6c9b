# SPDX-License-Identifier: Apache-2.0
"""The text that RoboVLMs puts around an instruction, and the words that its discrete decoder uses for actions.

Both depend on the backbone's tokenizer, as transformers 4 showed it to RoboVLMs.
"""

import json
from pathlib import Path
from typing import Any

from vla_core.errors import CheckpointError
from vla_core.model.config import INSTRUCTION_SLOT, PromptConfig
from vla_core.model.prompt import read_tokenizer
from vla_training.robovlms.json_file import Config

_UNUSED_WORDS = 10  # that the original leaves free above the action tokens
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_NO_TOKEN = "<|endoftext|>"  # what stands for both where a tokenizer has neither BOS nor EOS


class RobovlmsTokenizer:
    """What an import needs to know of a tokenizer.

    Args:
        folder: The backbone's folder.
        config: RoboVLMs' configuration; its ``tokenizer`` section may add tokens.

    Raises:
        CheckpointError: The folder holds no readable tokenizer.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self._tokenizer = read_tokenizer(folder)
        self._folder = folder
        self._config = config
        self._bos: str | None = self._tokenizer.bos_token
        self._eos: str | None = self._tokenizer.eos_token

    def continuous_prompt(self, model: str) -> PromptConfig:
        """Return the text of the structures that regress actions, for the configuration's ``model``."""
        if model == "paligemma":
            text, adds_tokens = f"{self._eos or ''}{INSTRUCTION_SLOT}\n", False
        else:
            text, adds_tokens = f"<grounding>An image of a robot {INSTRUCTION_SLOT}", True
        return PromptConfig(
            text=text,
            special_tokens=adds_tokens,
            tokens_before_pictures=int(self._bos is not None),
            tokens_after_lrn=int(self._eos is not None),
        )

    def discrete_prompt(self, num_steps: int) -> PromptConfig:
        """Return the text of the discrete decoder.

        Args:
            num_steps: The number in the text; the original writes one more than the chunk holds.
        """
        bos, eos = self._bos, self._eos
        if bos is None and eos is None:
            bos = eos = _NO_TOKEN
        text = (
            f"Input: What {num_steps} step actions should the robot take to {INSTRUCTION_SLOT}?\nOutput: \n{eos}"
        )
        return PromptConfig(
            text=text.replace(bos or "", "").rstrip() if bos else text.rstrip(),
            special_tokens=True,
            tokens_before_pictures=1,
            tokens_after_lrn=int(self._eos is not None),
        )

    @property
    def end_of_action_tokens(self) -> int:
        """One above the id of the first bin's token."""
        return int(self._tokenizer.vocab_size) - self._num_special_tokens - _UNUSED_WORDS

    @property
    def _num_special_tokens(self) -> int:
        """Entries of transformers 4's ``special_tokens_map_extended``, which counts each use of a token.

        The files are asked first: transformers 5 gives some tokenizers special tokens that 4 did not.
        """
        named, listed = self._from_files()
        if not named:
            named = dict(self._tokenizer.special_tokens_map)
        if self._config["model"] == "paligemma":
            listed = ["<image>"]  # its processor sets the list
        section = self._config.get("tokenizer")
        added = section.get("additional_special_tokens") if isinstance(section, dict) else None
        return len(named) + len(added or listed)

    def _from_files(self) -> tuple[dict[str, Any], list[Any]]:
        named: dict[str, Any] = {}
        listed: list[Any] = []
        for file in ("tokenizer_config.json", "special_tokens_map.json"):
            path = self._folder / file
            try:
                found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
                named |= {key: found[key] for key in _NAMED if found.get(key) is not None}
                listed = found.get("additional_special_tokens") or listed
            except (OSError, ValueError, AttributeError) as error:
                raise CheckpointError(f"{path}: not a tokenizer's configuration: {error}") from error
        return named, listed
