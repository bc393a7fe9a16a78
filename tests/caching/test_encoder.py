"""Tests of the caching encoder: equal media are encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from motet.caching.encoder import CachingEncoder, EmbeddingCache
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError
from motet.core.media import Media
from motet.core.telemetry.families import encoder_metrics
from motet.core.tensors import Tensor
from motet.toys.workers import UNREADABLE, ToyEncoder, tensor_of
from tests.waiting import until

NEVER = Deadline(None)
ONE, TWO, BROKEN = Media("", b"one"), Media("", b"two"), Media("", UNREADABLE)


def encoder_of(inner: Any, version: str = "1", cache: EmbeddingCache | None = None) -> CachingEncoder:
    return CachingEncoder(inner, version, EmbeddingCache(1000) if cache is None else cache)


def count(outcome: str) -> float:
    """Return the number of media of this outcome in this process."""
    return float(encoder_metrics.EMBEDDING_CACHE.labels(outcome)._value.get())


async def concurrent_callers(encoder: CachingEncoder, callers: int) -> list[asyncio.Task[list[Tensor]]]:
    """Start this number of callers of the same media. Return when all have joined."""
    before = count("joined")
    tasks = [asyncio.create_task(encoder.encode([ONE], NEVER)) for _ in range(callers)]
    await until(lambda: count("joined") == before + callers - 1)
    return tasks


class BlockedEncoder:
    """An encoder that runs one call per permit of `allow`."""

    def __init__(self) -> None:
        self.media: list[Media] = []
        self.priorities: list[int] = []
        self.stopped = 0
        self._permits = asyncio.Semaphore(0)

    def allow(self) -> None:
        self._permits.release()

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        self.media.extend(media)
        self.priorities.append(priority)
        try:
            await self._permits.acquire()
            return [tensor_of(item.data, (4,)) for item in media]
        finally:
            self.stopped += 1


async def test_the_encoder_gets_tenant_and_priority() -> None:
    toy = ToyEncoder()

    await encoder_of(toy).encode([ONE], NEVER, tenant="acme", priority=1)

    assert list(toy.callers) == [("acme", 1)]


async def test_cached_media_are_not_encoded_again() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)
    hits = count("hit")

    first = await encoder.encode([ONE, TWO], NEVER)
    again = await encoder.encode([TWO, ONE, ONE], NEVER)

    assert again == [first[1], first[0], first[0]]
    assert first == await ToyEncoder().encode([ONE, TWO], NEVER)
    assert sorted(item.data for (item,) in toy.seen) == [b"one", b"two"]
    assert count("hit") == hits + 3


async def test_a_tenant_gets_no_cached_embedding_of_another_tenant() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)
    misses = count("miss")

    embeddings = [await encoder.encode([ONE], NEVER, tenant=tenant) for tenant in ("a", "b", "a")]

    assert embeddings[0] == embeddings[1] == embeddings[2]
    assert len(toy.seen) == 2
    assert count("miss") == misses + 2


async def test_a_tenant_does_not_join_an_encoding_of_another_tenant() -> None:
    blocked = BlockedEncoder()
    encoder = encoder_of(blocked)
    callers = [asyncio.create_task(encoder.encode([ONE], NEVER, tenant=tenant)) for tenant in ("a", "b")]

    await until(lambda: len(blocked.media) == 2)

    blocked.allow()
    blocked.allow()
    first, second = await asyncio.gather(*callers)
    assert first == second


async def test_concurrent_equal_media_are_encoded_once() -> None:
    blocked = BlockedEncoder()
    encoder = encoder_of(blocked)
    callers = await concurrent_callers(encoder, 8)
    blocked.allow()

    embeddings = await asyncio.gather(*callers)

    assert blocked.media == [ONE]
    assert {tensor.data for (tensor,) in embeddings} == {tensor_of(b"one", (4,)).data}


async def test_a_call_does_not_join_an_encoding_of_lower_priority() -> None:
    blocked = BlockedEncoder()
    encoder = encoder_of(blocked)
    joined = count("joined")
    callers = [asyncio.create_task(encoder.encode([ONE], NEVER, priority=priority)) for priority in (0, 1, 0)]
    await until(lambda: len(blocked.media) == 2 and count("joined") == joined + 1)
    blocked.allow()
    blocked.allow()

    normal, urgent, normal_again = await asyncio.gather(*callers)

    assert normal == urgent == normal_again
    assert sorted(blocked.priorities) == [0, 1]


async def test_another_version_of_the_encoder_is_a_miss() -> None:
    cache, toy = EmbeddingCache(1000), ToyEncoder()

    for version in ("1", "2"):
        await encoder_of(toy, version, cache).encode([ONE], NEVER)

    assert len(toy.seen) == 2


async def test_equal_bytes_of_another_media_type_are_a_miss() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)

    await encoder.encode([ONE, replace(ONE, media_type="x/lie")], NEVER)

    assert len(toy.seen) == 2


async def test_errors_have_each_callers_own_index_and_are_not_cached() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)

    for media in ([BROKEN], [ONE, BROKEN], [ONE, TWO, BROKEN]):
        with pytest.raises(MediaError) as caught:
            await encoder.encode(media, NEVER)
        assert caught.value.metadata["index"] == str(len(media) - 1)

    assert [item for (item,) in toy.seen].count(BROKEN) == 3


async def test_two_callers_of_the_same_unreadable_media_get_their_own_indices() -> None:
    encoder = encoder_of(ToyEncoder(delay=0.05))

    one, other = await asyncio.gather(
        encoder.encode([BROKEN], NEVER), encoder.encode([TWO, BROKEN], NEVER), return_exceptions=True
    )

    assert isinstance(one, MediaError)
    assert isinstance(other, MediaError)
    assert (one.metadata["index"], other.metadata["index"]) == ("0", "1")


async def test_the_error_names_the_first_of_several_unreadable_media() -> None:
    with pytest.raises(MediaError) as caught:
        await encoder_of(ToyEncoder()).encode([ONE, BROKEN, replace(BROKEN, media_type="x/other")], NEVER)

    assert caught.value.metadata["index"] == "1"


async def test_an_encoding_stops_only_when_all_callers_cancel() -> None:
    blocked = BlockedEncoder()
    encoder = encoder_of(blocked)
    callers = await concurrent_callers(encoder, 2)

    callers[0].cancel()
    await asyncio.wait(callers[:1])
    assert blocked.stopped == 0
    callers[1].cancel()
    await asyncio.wait(callers)

    assert blocked.stopped == 1


async def test_each_caller_of_the_encoder_waits_until_its_own_deadline() -> None:
    blocked = BlockedEncoder()
    encoder = encoder_of(blocked)
    long = asyncio.create_task(encoder.encode([ONE], NEVER))

    with pytest.raises(DeadlineError):
        await encoder.encode([ONE], Deadline.after(0.05))
    blocked.allow()

    assert await long == [tensor_of(b"one", (4,))]


async def test_a_tenant_with_many_embeddings_evicts_only_its_own() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy, cache=EmbeddingCache(3 * len((await toy.encode([ONE], NEVER))[0].data)))
    await encoder.encode([ONE], NEVER, tenant="modest")
    for number in range(10):
        await encoder.encode([Media("", bytes([number]))], NEVER, tenant="greedy")
    encoded = len(toy.seen)

    await encoder.encode([ONE], NEVER, tenant="modest")

    assert len(toy.seen) == encoded
