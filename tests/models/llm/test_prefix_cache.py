import torch

from motet.models.llm.prefix_cache import PrefixCache

BLOCKS = {name: torch.tensor(i) for i, name in enumerate((b"a", b"b", b"c", b"d"))}


def test_blocks_are_found_up_to_the_first_cache_miss() -> None:
    cache = PrefixCache(4)
    for name in (b"a", b"c"):
        cache.put(name, BLOCKS[name], "")

    assert cache.find([b"a", b"b", b"c"]) == [BLOCKS[b"a"]]
    assert cache.find([b"b"]) == []


def test_the_least_recently_used_block_is_evicted_first() -> None:
    cache = PrefixCache(2)
    cache.put(b"a", BLOCKS[b"a"], "")
    cache.put(b"b", BLOCKS[b"b"], "")
    cache.find([b"a"])
    cache.put(b"c", BLOCKS[b"c"], "")

    assert len(cache) == 2
    assert cache.find([b"b"]) == []
    assert cache.find([b"a"]) == [BLOCKS[b"a"]]


def test_the_last_block_of_a_prompt_is_evicted_first() -> None:
    cache = PrefixCache(3)
    for name in (b"a", b"b", b"c"):
        cache.put(name, BLOCKS[name], "")
    cache.find([b"a", b"b", b"c"])
    cache.put(b"d", BLOCKS[b"d"], "")

    assert cache.find([b"a", b"b", b"c"]) == [BLOCKS[b"a"], BLOCKS[b"b"]]


def test_a_cache_of_size_zero_stores_nothing() -> None:
    cache = PrefixCache(0)
    cache.put(b"a", BLOCKS[b"a"], "")

    assert len(cache) == 0
    assert cache.find([b"a"]) == []


def test_a_tenant_with_many_blocks_evicts_only_its_own_blocks() -> None:
    cache = PrefixCache(3)
    cache.put(b"modest", BLOCKS[b"a"], "modest")

    for number in range(10):
        cache.put(bytes([number]), BLOCKS[b"b"], "greedy")

    assert cache.find([b"modest"]) == [BLOCKS[b"a"]]
    assert len(cache) == 3
