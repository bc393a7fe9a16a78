"""Tests of the LRU cache: hits, replacement and eviction."""

from __future__ import annotations

import asyncio
import sys

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from motet.caching.lru import LruCache


def test_a_cached_value_is_a_hit_and_any_other_key_is_a_miss() -> None:
    cache: LruCache[str, bytes] = LruCache(10)

    cache.put("a", b"aaa", 3)

    assert cache.get("a") == b"aaa"
    assert cache.get("b") is None
    assert cache.size == 3


def test_the_least_recently_used_value_is_evicted() -> None:
    cache: LruCache[str, bytes] = LruCache(10)
    for key in "abc":
        cache.put(key, key.encode(), 3)

    cache.get("a")
    cache.put("d", b"d", 3)

    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.size == 9


def test_a_value_larger_than_the_limit_is_not_cached_and_evicts_nothing() -> None:
    cache: LruCache[str, bytes] = LruCache(10)
    cache.put("a", b"a", 10)

    cache.put("b", b"b", 11)

    assert cache.get("a") == b"a"
    assert cache.get("b") is None


def test_a_replaced_value_does_not_count_in_the_size() -> None:
    cache: LruCache[str, bytes] = LruCache(10)

    for value, size in ((b"old", 9), (b"new", 4)):
        cache.put("a", value, size)

    assert cache.get("a") == b"new"
    assert cache.size == 4


def test_a_popped_value_is_a_miss_and_frees_its_bytes() -> None:
    cache: LruCache[str, bytes] = LruCache(10)
    cache.put("a", b"aaa", 3)

    assert cache.pop("a") == b"aaa"
    assert cache.pop("a") is None
    assert cache.get("a") is None
    assert cache.size == 0


def test_put_returns_the_evicted_values() -> None:
    cache: LruCache[str, str] = LruCache(10)
    assert cache.put("a", "A", 4) == []
    assert cache.put("b", "B", 4) == []

    assert cache.put("c", "C", 9) == ["A", "B"]
    assert cache.put("d", "D", 11) == ["D"]
    assert cache.size == 9


def test_the_number_of_entries_is_limited() -> None:
    cache: LruCache[str, str] = LruCache(10, max_entries=2)
    cache.put("a", "A", 1)
    cache.put("b", "B", 1)
    cache.get("a")

    assert cache.put("c", "C", 1) == ["B"]
    assert len(cache) == 2
    assert cache.get("a") == "A"
    assert cache.get("b") is None


def test_an_owner_with_one_value_keeps_it_while_another_owner_puts_values_without_end() -> None:
    cache: LruCache[object, str] = LruCache(100)
    cache.put("modest", "kept", 10, owner="modest")

    for number in range(1000):
        cache.put(number, "greedy", 9, owner="greedy")

    assert cache.get("modest") == "kept"
    assert cache.size_of("greedy") == 90


def test_one_owner_alone_fills_the_cache() -> None:
    cache: LruCache[object, str] = LruCache(100, max_entries=10)

    assert [evicted for number in range(10) for evicted in cache.put(number, "", 10, owner="a")] == []


def test_a_value_larger_than_the_rest_of_the_cache_is_kept_and_evicts_from_the_largest_other_owner() -> None:
    cache: LruCache[str, str] = LruCache(100)
    for key, size in (("a1", 20), ("a2", 20), ("b", 30), ("c", 10)):
        cache.put(key, key, size, owner=key[0])

    assert cache.put("d", "d", 60, owner="d") == ["a1", "b"]
    assert [key for key in ("a1", "a2", "b", "c", "d") if cache.get(key)] == ["a2", "c", "d"]


def test_the_owner_of_many_small_values_loses_them_although_another_owner_has_more_bytes() -> None:
    cache: LruCache[object, str] = LruCache(100, max_entries=10)
    cache.put("large", "large", 60, owner="large")

    for number in range(100):
        cache.put(number, "", 0, owner="small")

    assert cache.get("large") == "large"
    assert len(cache) == 10


class IdleLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is set by its user."""

    moment = 0.0

    def time(self) -> float:
        return self.moment


def test_an_idle_owner_loses_its_values_before_an_owner_with_a_larger_share() -> None:
    loop = IdleLoop()

    async def run() -> None:
        cache: LruCache[object, str] = LruCache(100, idle_after=60)
        cache.put("idle", "", 10, owner="idle")
        cache.put("active", "", 10, owner="active")
        loop.moment = 61.0
        cache.get("active")
        for number in range(10):
            cache.put(number, "", 9, owner="greedy")

        assert cache.get("idle") is None
        assert cache.get("active") is not None

    loop.run_until_complete(run())
    loop.close()


OWNERS = st.sampled_from("abcd")


class Owners(RuleBasedStateMachine):
    """Compares a cache with a model that looks at all owners and values at each eviction."""

    limit, max_entries = 50, 12

    def __init__(self) -> None:
        super().__init__()
        self.cache: LruCache[str, str] = LruCache(self.limit, self.max_entries)
        self.values: dict[str, tuple[str, int]] = {}
        """Key -> owner and size, the least recently used value first."""

    def share(self, owner: str) -> float:
        sizes = [size for each, size in self.values.values() if each == owner]
        return max(sum(sizes) / self.limit, len(sizes) / self.max_entries)

    @rule(key=st.integers(0, 30).map(str), owner=OWNERS, size=st.integers(0, 60))
    def put(self, key: str, owner: str, size: int) -> None:
        self.values.pop(key, None)
        evicted = self.cache.put(key, key, size, owner)
        if size > self.limit:
            assert evicted == [key]
            return
        self.values[key] = owner, size
        expected = []
        while sum(size for _, size in self.values.values()) > self.limit or len(self.values) > self.max_entries:
            candidates = [each for each in self.values if each != key]
            largest = max(self.share(self.values[each][0]) for each in candidates)
            owners = {self.values[each][0] for each in candidates if self.share(self.values[each][0]) == largest}
            # Owners with equal shares lose values in the order of their names.
            victim = next(each for each in candidates if self.values[each][0] == min(owners))
            assert largest > (1 - size / self.limit) / len({owner for owner, _ in self.values.values()})
            expected.append(victim)
            del self.values[victim]
        assert evicted == expected

    @rule(key=st.integers(0, 30).map(str))
    def get(self, key: str) -> None:
        assert self.cache.get(key) == (key if key in self.values else None)
        if key in self.values:
            self.values[key] = self.values.pop(key)

    @rule(key=st.integers(0, 30).map(str))
    def pop(self, key: str) -> None:
        assert self.cache.pop(key) == (key if self.values.pop(key, None) else None)

    @invariant()
    def sizes_are_equal(self) -> None:
        assert len(self.cache) == len(self.values)
        assert self.cache.size == sum(size for _, size in self.values.values())
        for name in "abcd":
            assert self.cache.size_of(name) == sum(size for owner, size in self.values.values() if owner == name)


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=40, deadline=None)


def test_the_time_of_an_eviction_hardly_depends_on_the_number_of_owners() -> None:
    def lines(owners: int) -> int:
        """Return the number of lines of Python that 100 evictions run, with values of many owners."""
        cache: LruCache[object, str] = LruCache(owners, max_entries=owners)
        for number in range(owners):
            cache.put(number, "", 1, owner=f"owner {number}")
        count = 0

        def trace(frame: object, event: str, argument: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        sys.settrace(trace)
        try:
            for number in range(100):
                cache.put((number,), "", 1, owner=f"new {number}")
        finally:
            sys.settrace(None)
        return count

    assert lines(10_000) < 3 * lines(100)
