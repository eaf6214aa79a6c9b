# SPDX-License-Identifier: Apache-2.0
"""How a pretrained model is asked about one picture, in words that its own processor would write."""

from dataclasses import dataclass

PICTURE_SLOT, QUESTION_SLOT = "{picture}", "{question}"


@dataclass(frozen=True, kw_only=True)
class QuestionFormat:
    """The text of a question, and the words that stand for a picture in it.

    Attributes:
        text: What the language model reads; ``{picture}`` stands for the words of the picture, ``{question}`` for
            the question.
        special_tokens: Whether the tokenizer adds its own first and last tokens to the text.
        before: Words in front of a picture.
        place: Word that is repeated for each token of a picture.
        after: Words behind a picture.
    """

    text: str
    special_tokens: bool = False
    before: tuple[str, ...] = ()
    place: str = "<image>"
    after: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for slot in (PICTURE_SLOT, QUESTION_SLOT):
            if self.text.count(slot) != 1:
                raise ValueError(f"text must hold {slot} once, found {self.text!r}")

    def fill(self, question: str, num_places: int) -> str:
        """Return the whole text of a question about a picture of so many tokens."""
        picture = "".join([*self.before, *[self.place] * num_places, *self.after])
        return self.text.replace(PICTURE_SLOT, picture).replace(QUESTION_SLOT, question)
