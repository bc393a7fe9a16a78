"""Equal media are embedded once, and nobody can tell but by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from motet.caching.encoder import CachingEncoder, EmbeddingCache
from motet.core import metrics
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, MediaError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.toys.workers import UNREADABLE, ToyEncoder, tensor_of

SOON = Deadline(None)
ONE, TWO, BROKEN = Media("", b"one"), Media("", b"two"), Media("", UNREADABLE)


def encoder_of(inner: Any, version: str = "1", memory: EmbeddingCache | None = None) -> CachingEncoder:
    return CachingEncoder(inner, version, EmbeddingCache(1000) if memory is None else memory)


def count(outcome: str) -> float:
    """How many pieces of media came out so in this process."""
    return float(metrics.EMBEDDING_CACHE.labels(outcome)._value.get())


async def waiting(encoder: CachingEncoder, callers: int) -> list[asyncio.Task[list[Tensor]]]:
    """So many callers that all wait for the embedding of the same."""
    before = count("joined")
    tasks = [asyncio.create_task(encoder.encode([ONE], SOON)) for _ in range(callers)]
    while count("joined") < before + callers - 1:
        await asyncio.sleep(0.001)
    return tasks


class Gate:
    """An encoder that waits to be told to go on."""

    def __init__(self) -> None:
        self.media: list[Media] = []
        self.stopped = 0
        self._may_go_on = asyncio.Semaphore(0)

    def go_on(self) -> None:
        self._may_go_on.release()

    async def encode(self, media: Sequence[Media], deadline: Deadline, **whose: Any) -> list[Tensor]:
        self.media.extend(media)
        try:
            await self._may_go_on.acquire()
            return [tensor_of(item.data, (4,)) for item in media]
        finally:
            self.stopped += 1


async def test_the_encoder_is_told_on_whose_behalf_and_how_urgently() -> None:
    toy = ToyEncoder()

    await encoder_of(toy).encode([ONE], SOON, tenant="acme", priority=1)

    assert list(toy.whose) == [("acme", 1)]


async def test_media_that_were_embedded_before_are_not_embedded_again() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)
    kept = count("kept")

    first = await encoder.encode([ONE, TWO], SOON)
    again = await encoder.encode([TWO, ONE, ONE], SOON)

    assert again == [first[1], first[0], first[0]]
    assert first == await ToyEncoder().encode([ONE, TWO], SOON)
    assert sorted(item.data for (item,) in toy.seen) == [b"one", b"two"]
    assert count("kept") == kept + 3


async def test_equal_media_under_way_are_embedded_once() -> None:
    gate = Gate()
    encoder = encoder_of(gate)
    callers = await waiting(encoder, 8)
    gate.go_on()

    embeddings = await asyncio.gather(*callers)

    assert gate.media == [ONE]
    assert {tensor.data for (tensor,) in embeddings} == {tensor_of(b"one", (4,)).data}


async def test_the_urgent_do_not_wait_with_those_who_are_not() -> None:
    toy = ToyEncoder(delay=0.05)
    encoder = encoder_of(toy)

    usual, urgent, usual_too = await asyncio.gather(
        *(encoder.encode([ONE], SOON, priority=priority) for priority in (0, 1, 0))
    )

    assert usual == urgent == usual_too
    assert sorted(toy.whose) == [("", 0), ("", 1)]


async def test_another_version_of_the_encoder_remembers_nothing_of_the_last() -> None:
    memory, toy = EmbeddingCache(1000), ToyEncoder()

    for version in ("1", "2"):
        await encoder_of(toy, version, memory).encode([ONE], SOON)

    assert len(toy.seen) == 2


async def test_media_declared_as_something_else_are_looked_at_again() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)

    await encoder.encode([ONE, replace(ONE, media_type="x/lie")], SOON)

    assert len(toy.seen) == 2


async def test_unreadable_media_are_named_by_each_callers_own_index_and_looked_at_again() -> None:
    toy = ToyEncoder()
    encoder = encoder_of(toy)

    for media in ([BROKEN], [ONE, BROKEN], [ONE, TWO, BROKEN]):
        with pytest.raises(MediaError) as caught:
            await encoder.encode(media, SOON)
        assert caught.value.metadata["index"] == str(len(media) - 1)

    assert [item for (item,) in toy.seen].count(BROKEN) == 3


async def test_two_who_wait_for_the_same_unreadable_media_each_hear_of_their_own_index() -> None:
    encoder = encoder_of(ToyEncoder(delay=0.05))

    one, other = await asyncio.gather(
        encoder.encode([BROKEN], SOON), encoder.encode([TWO, BROKEN], SOON), return_exceptions=True
    )

    assert isinstance(one, MediaError)
    assert isinstance(other, MediaError)
    assert (one.metadata["index"], other.metadata["index"]) == ("0", "1")


async def test_of_several_unreadable_media_the_first_is_named() -> None:
    with pytest.raises(MediaError) as caught:
        await encoder_of(ToyEncoder()).encode([ONE, BROKEN, replace(BROKEN, media_type="x/other")], SOON)

    assert caught.value.metadata["index"] == "1"


async def test_encoding_goes_on_when_the_first_caller_gives_up_and_stops_when_all_have() -> None:
    gate = Gate()
    encoder = encoder_of(gate)
    callers = await waiting(encoder, 2)

    callers[0].cancel()
    await asyncio.wait(callers[:1])
    assert gate.stopped == 0
    callers[1].cancel()
    await asyncio.wait(callers)

    assert gate.stopped == 1


async def test_each_caller_of_the_encoder_waits_until_its_own_deadline() -> None:
    gate = Gate()
    encoder = encoder_of(gate)
    patient = asyncio.create_task(encoder.encode([ONE], SOON))

    with pytest.raises(DeadlineError):
        await encoder.encode([ONE], Deadline.after(0.05))
    gate.go_on()

    assert await patient == [tensor_of(b"one", (4,))]
