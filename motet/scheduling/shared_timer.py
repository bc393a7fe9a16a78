"""One timer for many items that time out after equal times."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from typing import Generic, TypeVar

Item = TypeVar("Item")


class SharedTimer(Generic[Item]):
    """Calls `on_timeout(item)` `seconds` seconds after an item was added, or up to a tenth later.

    An item that was discarded does not time out. Adding an item is cheaper than starting a timer of its own. Items are
    hashable. `on_timeout` runs without context variables. Use a timer in one event loop only.
    """

    def __init__(self, seconds: float, on_timeout: Callable[[Item], object]) -> None:
        self._seconds = seconds
        self._on_timeout = on_timeout
        self._due: OrderedDict[Item, float] = OrderedDict()
        """Time of each item's timeout, in order of time."""
        self._running = False

    def add(self, item: Item) -> None:
        """Start the time of an item."""
        loop = asyncio.get_running_loop()
        self._due[item] = due = loop.time() + self._seconds
        if not self._running:
            self._running = True
            # The variables of the item's call would be in memory until the timeout.
            loop.call_at(due, self._expire, context=Context())

    def discard(self, item: Item) -> None:
        """Forget an item, if it has not timed out."""
        self._due.pop(item, None)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while self._due:
            item, due = next(iter(self._due.items()))
            if due > (moment := loop.time()):
                loop.call_at(max(due, moment + self._seconds / 10), self._expire, context=Context())
                return
            del self._due[item]
            self._on_timeout(item)
        self._running = False
