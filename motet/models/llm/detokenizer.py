"""The detokenizer: token ids in, text of whole characters out, up to the stop text."""

from __future__ import annotations

import re

from motet.models.llm.chat_template import STOP
from motet.models.llm.tokenizer import IncrementalDecoder, Tokenizer

# White space and number signs at the end of the text may be the start of the stop text. They are held back until the
# next token.
_POSSIBLE_STOP = re.compile(rf"\s*{STOP[0]}{{0,{len(STOP) - 1}}}\Z")


class Detokenizer:
    """A converter from the tokens of one response to its text. It holds text back that may be the stop text.

    The stop text is searched in the text, since "###" has several tokenizations. NExT-GPT's published stop rule knows
    only one of them, so the model can continue with invented turns.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decoder = IncrementalDecoder(tokenizer)
        self._held = ""
        self._started = False
        self.stopped = False
        """True once the stop text was found. The text after it is dropped."""

    def feed(self, token: int) -> str:
        """Add a token. Return the text that is complete now, often ""."""
        self._held += self._decoder.feed(token)
        text, stop, _ = self._held.partition(STOP)
        if stop:
            self.stopped = True
            self._held = ""
            return self._output(text.rstrip())
        possible_stop = _POSSIBLE_STOP.search(text)
        end = possible_stop.start() if possible_stop else len(text)
        released, self._held = text[:end], text[end:]
        return self._output(released)

    def flush(self) -> str:
        """Return the text that was held back. A run of signal tokens follows, so the text is not a stop text."""
        held, self._held = self._held + self._decoder.close(), ""
        return self._output(held)

    def close(self) -> str:
        """Return the text that was held back at the end of the response, without trailing white space."""
        return self.flush().rstrip()

    def _output(self, text: str) -> str:
        # The chat template has a space after "Assistant:". It is not part of the response.
        if text and not self._started:
            self._started = True
            return text.removeprefix(" ")
        return text
