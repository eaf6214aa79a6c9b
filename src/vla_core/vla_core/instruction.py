# SPDX-License-Identifier: Apache-2.0
"""What counts as a sentence: the one place that accepts or refuses the text of an instruction."""

import unicodedata

from vla_core.errors import InstructionError

MAX_INSTRUCTION_CHARS = 512


def clean_instruction(text: str) -> str:
    """Return the sentence with outer and repeated white space removed; empty means "stop".

    Raises:
        InstructionError: The text is too long, was not valid UTF-8, or holds control characters.
    """
    if len(text) > MAX_INSTRUCTION_CHARS:
        raise InstructionError(
            f"instruction: {len(text)} characters found, at most {MAX_INSTRUCTION_CHARS} are allowed. "
            "Send one plain sentence"
        )
    # rclpy turns bytes that are no UTF-8 into U+FFFD or lone surrogates.
    if any(char == "\ufffd" or unicodedata.category(char) == "Cs" for char in text):
        raise InstructionError("instruction: the text is not valid UTF-8. Send it as UTF-8")
    sentence = " ".join(text.split())
    control = [char for char in sentence if unicodedata.category(char) == "Cc"]
    if control:
        raise InstructionError(
            f"instruction: control character {control[0]!r} found; only printable text is allowed"
        )
    return sentence
