"""A limit for lines that are written again and again."""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from motet.core.logs.audit import AUDIT

LIMIT = 20
"""Number of equal lines of a period that are written."""

PERIOD = 10.0
"""Length of a period in seconds."""

_MAX_LINES = 1_000
"""Maximum number of different lines that are counted. The one that was written the longest time ago is forgotten."""


@dataclass(slots=True)
class _Repeats:
    began: float
    written: int = 0
    left_out: int = 0
    last: logging.LogRecord | None = None


class RepeatedLines:
    """Counts of equal warnings and errors: those of one logger and level with the same text before its values.

    A fault can cause thousands of equal lines in a second, which would hide all others. Lines of a lower level are
    about one request each, and lines of the audit log are evidence: both are always written. The periods are of real
    time. Not safe for several threads.
    """

    def __init__(self, limit: int = LIMIT, period: float = PERIOD, clock: Callable[[], float] = monotonic) -> None:
        self._limit, self._period, self._now = limit, period, clock
        self._repeats: OrderedDict[tuple[str, int, str], _Repeats] = OrderedDict()

    def admits(self, record: logging.LogRecord) -> bool:
        """Return True if the line is to be written.

        If lines were left out in an earlier period, the record gets the field `lines_left_out` with their number.
        """
        if record.levelno < logging.WARNING or record.name == AUDIT.name:
            return True
        key = record.name, record.levelno, str(record.msg)
        repeats = self._repeats.get(key)
        if repeats is None or self._now() - repeats.began >= self._period:
            if repeats is not None and repeats.left_out:
                record.lines_left_out = repeats.left_out
            repeats = self._repeats[key] = _Repeats(self._now())
        self._repeats.move_to_end(key)
        if len(self._repeats) > _MAX_LINES:
            self._repeats.popitem(last=False)
        if repeats.written < self._limit:
            repeats.written += 1
            return True
        repeats.left_out += 1
        repeats.last = record
        return False

    def ended(self, *, early: bool = False) -> Iterator[logging.LogRecord]:
        """Yield the last line of each period that ended with lines left out, with their number. Forget these periods.

        `early` also ends the periods that have not passed.
        """
        for key, repeats in list(self._repeats.items()):
            if early or self._now() - repeats.began >= self._period:
                del self._repeats[key]
                if repeats.last is not None:
                    record = copy.copy(repeats.last)
                    record.lines_left_out = repeats.left_out
                    yield record
