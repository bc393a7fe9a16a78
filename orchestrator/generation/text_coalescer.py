"""The text of an answer, on its way to the caller in pieces worth sending."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+")
_LONGEST_CAPTION = 1000
"""Code points of text that a caption is looked for in."""


class TextCoalescer:
    """Gathers what is written within `interval` seconds into one piece for `send`.

    The first piece after a pause is sent at once, so that gathering costs no time where there is nothing to gather.
    """

    def __init__(self, send: Callable[[str], None], interval: float) -> None:
        self._send = send
        self._interval = interval
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")

    def write(self, text: str) -> None:
        """Send text now or within the interval."""
        self._waiting.append(text)
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._sent_at + self._interval
        if loop.time() >= due:
            self.flush()
        else:
            self._timer = loop.call_at(due, self.flush)

    def flush(self) -> None:
        """Send what waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._sent_at = asyncio.get_running_loop().time()
            text = "".join(self._waiting)
            self._waiting.clear()
            self._send(text)


def caption_of(text: str) -> str:
    """The last sentence of a text, which is what media that follow it were asked for with; "" for blank text."""
    return _SENTENCE_END.split(text[-_LONGEST_CAPTION:].strip())[-1]
