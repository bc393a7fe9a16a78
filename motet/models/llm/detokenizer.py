"""The text of an answer on its way out: whole characters, and nothing from the stop mark on."""

from __future__ import annotations

import re

from motet.models.llm.chat_template import STOP
from motet.models.llm.tokenizer import IncrementalDecoder, Tokenizer

# White space and marks at the end may be the beginning of the stop; they wait for what follows.
_WAITING = re.compile(rf"\s*{STOP[0]}{{0,{len(STOP) - 1}}}\Z")


class Detokenizer:
    """Turns tokens into text that is certainly part of the answer.

    The stop is recognised in the text, since "###" has several tokenisations (NExT-GPT's published stop rule
    knows one of them, and lets invented turns through).
    """

    def __init__(self, codec: Tokenizer) -> None:
        self._codec = codec
        self._spelling = IncrementalDecoder(codec)
        self._held = ""
        self._begun = False
        self.stopped = False
        """Whether the stop was read; what comes after it is dropped."""

    def feed(self, token: int) -> str:
        """The text that one more token releases, often ""."""
        self._held += self._spelling.feed(token)
        answer, stop, _ = self._held.partition(STOP)
        if stop:
            self.stopped = True
            self._held = ""
            return self._out(answer.rstrip())
        waiting = _WAITING.search(answer)
        keep = waiting.start() if waiting else len(answer)
        released, self._held = answer[:keep], answer[keep:]
        return self._out(released)

    def flush(self) -> str:
        """The text that was waiting: a run of signal tokens follows it, so it is no stop."""
        held = self._held + self._spelling.close()
        self._held, self._spelling = "", IncrementalDecoder(self._codec)
        return self._out(held)

    def close(self) -> str:
        """The last text of an answer that was cut off, without white space at its end."""
        return self.flush().rstrip()

    def _out(self, text: str) -> str:
        # The transcript puts a space after "Assistant:", which is not part of the answer.
        if text and not self._begun:
            self._begun = True
            return text.removeprefix(" ")
        return text
