import pytest
import torch

from motet.core.errors import SettingsError
from motet.models.llm.kv_cache import KvCache, KvSlot

CPU = torch.device("cpu")


def cache(limit: int) -> KvCache:
    return KvCache((2, 1, 4), limit, torch.float32, CPU)


def test_spans_do_not_overlap_and_never_exceed_the_limit() -> None:
    kept = cache(10)
    first, second = kept.reserve(4), kept.reserve(5)

    assert (first, second) == (KvSlot(0, 4), KvSlot(4, 5))
    assert kept.used == 9
    assert kept.reserve(2) is None
    assert kept.reserve(1) == KvSlot(9, 1)


def test_what_is_given_back_grows_together_again() -> None:
    kept = cache(12)
    spans = [kept.reserve(4) for _ in range(3)]
    for index in (0, 2, 1):
        span = spans[index]
        assert span is not None
        kept.release(span)

    assert kept.used == 0
    assert kept.reserve(12) == KvSlot(0, 12)


def test_a_hole_is_filled_by_what_fits() -> None:
    kept = cache(12)
    first = kept.reserve(4)
    kept.reserve(8)
    assert first is not None
    kept.release(first)

    assert kept.reserve(5) is None
    assert kept.reserve(3) == KvSlot(0, 3)


def test_tokens_that_are_read_and_written_elsewhere_are_the_same() -> None:
    kept = cache(12)
    kept.memory.normal_()
    tokens = kept.read(2, 3)
    kept.write(8, tokens)

    assert tokens.shape == (2, 2, 1, 3, 4)
    assert torch.equal(kept.read(8, 3), kept.read(2, 3))
    kept.memory.zero_()
    assert tokens.abs().min() > 0


def test_memory_that_is_not_there_is_refused_by_its_setting() -> None:
    with pytest.raises(SettingsError, match="keys and values of 1000000000000000 tokens take: set MOTET_KV_TOKENS"):
        cache(10**15)
