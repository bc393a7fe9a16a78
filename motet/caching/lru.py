"""What was made lately, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps values that are worth keeping, at most `limit` bytes of them; the least recently used make room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        """The least recently used first; each with the bytes it takes."""
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return self._size

    def get(self, key: Key) -> Value | None:
        """What is kept under a key, or None."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of `size` bytes in place of the key's last one. One that would fill it all is not kept."""
        self._size -= self._kept.pop(key, (value, 0))[1]
        if size > self._limit:
            return
        self._kept[key] = (value, size)
        self._size += size
        while self._size > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self._size -= freed
