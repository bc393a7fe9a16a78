import pytest
import torch

from motet.core.errors import SettingsError
from motet.models.llm.layers.kv_cache import KvCache, KvSlot

CPU = torch.device("cpu")


def cache_of(limit: int) -> KvCache:
    return KvCache((2, 1, 4), limit, torch.float32, CPU)


def test_slots_do_not_overlap_and_never_exceed_the_limit() -> None:
    cache = cache_of(10)
    first, second = cache.reserve(4), cache.reserve(5)

    assert (first, second) == (KvSlot(0, 4), KvSlot(4, 5))
    assert cache.used == 9
    assert cache.reserve(2) is None
    assert cache.reserve(1) == KvSlot(9, 1)


def test_released_slots_are_merged() -> None:
    cache = cache_of(12)
    slots = [cache.reserve(4) for _ in range(3)]
    for index in (0, 2, 1):
        slot = slots[index]
        assert slot is not None
        cache.release(slot)

    assert cache.used == 0
    assert cache.reserve(12) == KvSlot(0, 12)


def test_a_released_slot_is_used_for_a_smaller_one() -> None:
    cache = cache_of(12)
    first = cache.reserve(4)
    cache.reserve(8)
    assert first is not None
    cache.release(first)

    assert cache.reserve(5) is None
    assert cache.reserve(3) == KvSlot(0, 3)


def test_tokens_that_are_copied_to_another_index_are_equal() -> None:
    cache = cache_of(12)
    cache.memory.normal_()
    tokens = cache.read(2, 3)
    cache.write(8, tokens)

    assert tokens.shape == (2, 2, 1, 3, 4)
    assert torch.equal(cache.read(8, 3), cache.read(2, 3))
    cache.memory.zero_()
    assert tokens.abs().min() > 0


def test_a_cache_that_exceeds_the_memory_is_refused_with_the_name_of_its_setting() -> None:
    with pytest.raises(SettingsError, match="keys and values of 1000000000000000 tokens take: set MOTET_KV_TOKENS"):
        cache_of(10**15)
