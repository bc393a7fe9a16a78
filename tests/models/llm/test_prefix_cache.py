import torch

from motet.models.llm.prefix_cache import PrefixCache

BLOCKS = {name: torch.tensor(i) for i, name in enumerate((b"a", b"b", b"c", b"d"))}


def test_blocks_are_found_up_to_the_first_that_is_unknown() -> None:
    prefixes = PrefixCache(4)
    for name in (b"a", b"c"):
        prefixes.keep(name, BLOCKS[name])

    assert prefixes.find([b"a", b"b", b"c"]) == [BLOCKS[b"a"]]
    assert prefixes.find([b"b"]) == []


def test_what_was_not_used_for_longest_goes_first() -> None:
    prefixes = PrefixCache(2)
    prefixes.keep(b"a", BLOCKS[b"a"])
    prefixes.keep(b"b", BLOCKS[b"b"])
    prefixes.find([b"a"])
    prefixes.keep(b"c", BLOCKS[b"c"])

    assert len(prefixes) == 2
    assert prefixes.find([b"b"]) == []
    assert prefixes.find([b"a"]) == [BLOCKS[b"a"]]


def test_of_one_script_the_last_blocks_go_first() -> None:
    prefixes = PrefixCache(3)
    for name in (b"a", b"b", b"c"):
        prefixes.keep(name, BLOCKS[name])
    prefixes.find([b"a", b"b", b"c"])
    prefixes.keep(b"d", BLOCKS[b"d"])

    assert prefixes.find([b"a", b"b", b"c"]) == [BLOCKS[b"a"], BLOCKS[b"b"]]
