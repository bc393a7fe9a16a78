"""Tests of the priority queue whose keys change their rank."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from motet.scheduling.updatable_heap import UpdatableHeap


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 5)), max_size=60),
    st.sets(st.sampled_from("abcd")),
)
def test_the_first_key_has_the_lowest_rank_of_those_that_are_permitted(changes, refused):
    heap, ranks = UpdatableHeap(), {}
    for key, rank in changes:
        if rank is None:
            heap.discard(key)
            ranks.pop(key, None)
        else:
            heap.set(key, rank)
            ranks[key] = rank
        permitted = {each: value for each, value in ranks.items() if each not in refused}
        first = heap.first(lambda each: each not in refused)
        assert len(heap) == len(ranks)
        assert (first is None) is (not permitted)
        if first is not None:
            assert permitted[first] == min(permitted.values()) == heap.rank(first)


def test_of_equal_ranks_the_one_that_was_set_first_is_first():
    heap = UpdatableHeap()
    for key in "abc":
        heap.set(key, 1.0)
    heap.set("a", 1.0)

    assert heap.first() == "b"
    heap.discard("b")
    assert heap.first() == "c"


def test_keys_that_are_refused_stay():
    heap = UpdatableHeap()
    for rank, key in enumerate("abc"):
        heap.set(key, rank)

    assert heap.first(lambda key: key == "c") == "c"
    assert heap.first(lambda key: False) is None
    assert heap.first() == "a"


def test_the_memory_does_not_grow_with_the_number_of_changes():
    heap = UpdatableHeap()
    heap.set("first", -1)
    for number in range(10_000):
        heap.set("often", number)
        heap.set(f"short {number}", number)
        heap.discard(f"short {number}")

    assert heap.first() == "first"
    assert len(heap._heap) < 100
