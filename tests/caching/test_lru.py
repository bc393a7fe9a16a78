"""What is kept, and what makes room."""

from motet.caching.lru import LruCache


def test_what_was_kept_is_there_and_nothing_else() -> None:
    memory: LruCache[str, bytes] = LruCache(10)

    memory.keep("a", b"aaa", 3)

    assert memory.get("a") == b"aaa"
    assert memory.get("b") is None
    assert memory.size == 3


def test_the_least_recently_used_makes_room() -> None:
    memory: LruCache[str, bytes] = LruCache(10)
    for key in "abc":
        memory.keep(key, key.encode(), 3)

    memory.get("a")
    memory.keep("d", b"d", 3)

    assert [key for key in "abcd" if memory.get(key)] == ["a", "c", "d"]
    assert memory.size == 9


def test_what_would_take_more_than_all_is_not_kept_and_costs_nobody_a_place() -> None:
    memory: LruCache[str, bytes] = LruCache(10)
    memory.keep("a", b"a", 10)

    memory.keep("b", b"b", 11)

    assert memory.get("a") == b"a"
    assert memory.get("b") is None


def test_a_key_kept_again_counts_once() -> None:
    memory: LruCache[str, bytes] = LruCache(10)

    for value, size in ((b"old", 9), (b"new", 4)):
        memory.keep("a", value, size)

    assert memory.get("a") == b"new"
    assert memory.size == 4
