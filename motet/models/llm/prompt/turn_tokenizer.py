"""The tokenizer of a turn's texts. They are data: no text gives the token ids of a heading of the chat template."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from motet.core.errors import RequestError
from motet.models.llm.chat_template import HEADING_WORDS, HEADINGS, STOP
from motet.models.llm.tokenizer import Tokenizer


class TurnTokenizer:
    """A tokenizer of the texts of one turn, which cannot forge another turn.

    In a turn whose texts contain the stop text, "#" and the words of the headings are tokenized on their own, as in
    "#", "#", "#", " ", "Human". The text stays the same, but the ids differ from those of a heading. All other turns
    have the vocabulary's usual ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._isolating = tokenizer.isolating(HEADING_WORDS)
        self._headings = [list(chain.from_iterable(map(tokenizer.encode, texts))) for texts in HEADINGS]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text of a turn.

        Raises `RequestError` if the texts contain a heading and the vocabulary has only one way to write it.
        """
        # The assistant's texts follow one another directly, so a heading may be distributed over several texts.
        if STOP not in "".join(map(self._tokenizer.normalized, texts)):
            return [self._tokenizer.encode(text) for text in texts]
        encoded = [self._isolating.encode(text) for text in texts]
        ids = list(chain.from_iterable(encoded))
        if any(_contains(ids, heading) for heading in self._headings):
            raise RequestError(
                f"a text contains {STOP!r} and the name of a role, which this model cannot distinguish from the start "
                "of a turn: change the text"
            )
        return encoded


def _contains(ids: list[int], sequence: list[int]) -> bool:
    return any(ids[i : i + len(sequence)] == sequence for i, token in enumerate(ids) if token == sequence[0])
