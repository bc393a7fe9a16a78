"""Coalescing of the language model's text into fewer events, and captions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+")
_MAX_CAPTION = 1000
"""Maximum length of a caption in code points."""


class TextCoalescer:
    """Joins the text that is written within `interval` seconds, and passes it to `send`.

    The first text after a pause of `interval` seconds is sent at once.
    """

    def __init__(self, send: Callable[[str], None], interval: float) -> None:
        self._send = send
        self._interval = interval
        self._pending: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = float("-inf")

    def write(self, text: str) -> None:
        """Send text now or at the end of the interval."""
        self._pending.append(text)
        if self._timer is not None:
            return
        loop = asyncio.get_running_loop()
        due = self._sent_at + self._interval
        if loop.time() >= due:
            self.flush()
        else:
            self._timer = loop.call_at(due, self.flush)

    def flush(self) -> None:
        """Send the pending text now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            self._sent_at = asyncio.get_running_loop().time()
            text = "".join(self._pending)
            self._pending.clear()
            self._send(text)


def caption_of(text: str) -> str:
    """Return the last sentence of a text, which is the caption of media that follow it, or "" for blank text."""
    return _SENTENCE_END.split(text[-_MAX_CAPTION:].strip())[-1]
