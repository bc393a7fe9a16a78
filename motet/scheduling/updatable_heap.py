"""A priority queue whose keys can change their rank."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Generic, TypeVar

K = TypeVar("K")
_SPARE = 64
"""Number of outdated entries that the heap keeps at most, beside as many as it has keys."""


class UpdatableHeap(Generic[K]):
    """Keys in the order of their ranks. A change takes logarithmic time, amortised. Equal ranks keep their order."""

    def __init__(self) -> None:
        # A change of a rank leaves an outdated entry in the heap. `_entries` holds the valid one of each key.
        self._heap: list[tuple[Any, int, K]] = []
        self._entries: dict[K, tuple[Any, int, K]] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, key: K, rank: Any) -> None:
        """Add a key, or change its rank. The lowest rank is first. Ranks are numbers, or tuples of numbers."""
        entry = rank, next(self._numbers), key
        self._entries[key] = entry
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + _SPARE:
            self._heap = list(self._entries.values())
            heapify(self._heap)

    def discard(self, key: K) -> None:
        """Remove a key. A key that is absent is ignored."""
        self._entries.pop(key, None)

    def first(self, permits: Callable[[K], bool] | None = None) -> K | None:
        """Return the first key for which `permits` returns True, or None. The key stays.

        The time is linear in the number of keys that are refused before it.
        """
        refused = []
        found = None
        while self._heap:
            entry = self._heap[0]
            if self._entries.get(entry[2]) is not entry:
                heappop(self._heap)
            elif permits is None or permits(entry[2]):
                found = entry[2]
                break
            else:
                refused.append(heappop(self._heap))
        for entry in refused:
            heappush(self._heap, entry)
        return found

    def rank(self, key: K) -> Any:
        """Return the rank of a key. Raises `KeyError` if it is absent."""
        return self._entries[key][0]
