"""Tests of the LRU cache: hits, replacement and eviction."""

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
