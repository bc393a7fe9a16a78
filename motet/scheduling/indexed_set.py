"""A set from which random members are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class IndexedSet(Generic[T]):
    """A set whose operations take a time that does not depend on its size, also the draw of a random member."""

    def __init__(self) -> None:
        self._members: list[T] = []
        self._index: dict[T, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[T]:
        return iter(self._members)

    def __contains__(self, member: T) -> bool:
        return member in self._index

    def add(self, member: T) -> None:
        """Add a member, unless it is in the set."""
        if member not in self._index:
            self._index[member] = len(self._members)
            self._members.append(member)

    def discard(self, member: T) -> None:
        """Remove a member if it is in the set. The last member gets its index."""
        index = self._index.pop(member, None)
        if index is None:
            return
        last = self._members.pop()
        if last is not member:
            self._members[index] = last
            self._index[last] = index

    def sample(self, random: Random, count: int) -> list[T]:
        """Return all members if there are at most `count`. Otherwise draw `count` times, and return what was drawn."""
        if len(self._members) <= count:
            return list(self._members)
        # Draws without repetition take several times as long.
        return list(dict.fromkeys(random.choices(self._members, k=count)))
