"""Streams of workers on the wire: who stalls is waited for, and who has said the last word is not."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.workers import DecodeJob, Finished, LanguageEvent, Progress, Prompt, TextPiece, Turn
from motet.transport.clients import RemoteDecoder, RemoteLanguageModel
from tests.transport.serving import JOB, served
from tests.waiting import until

PROMPT = Prompt((Turn("user", ("hi",)),))

either = pytest.mark.parametrize("stream", ["decode", "generate"])
"""A decoder's stream, and a language model's."""


class Lingerer:
    """A decoder and a language model that are there for so many seconds after their last word."""

    def __init__(self, seconds: float) -> None:
        self.endings: list[str] = []
        self._seconds = seconds

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        yield Media("image/toy", b"x" * 2**19)
        await self._linger()

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        yield Finished("stop", 1, 1)
        await self._linger()

    async def _linger(self) -> None:
        try:
            await asyncio.sleep(self._seconds)
            self.endings.append("left")
        except BaseException as error:
            self.endings.append(type(error).__name__)
            raise


@asynccontextmanager
async def last_words(lingerer: Lingerer, stream: str) -> AsyncIterator[LanguageEvent | Progress | Media]:
    """The last word of either worker, just heard; its stream is closed."""
    async with served(lingerer) as (_, channel):
        decoded = RemoteDecoder(channel).decode(JOB, Deadline.after(10))
        written = RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(10))
        async with closing(decoded if stream == "decode" else written) as events:
            last = await anext(events)
        yield last


def calls() -> Counter[str]:
    """How many calls that answer with a stream are in memory, of clients and of servers."""
    return Counter(
        kind for one in gc.get_objects() if (kind := type(one).__name__) in ("UnaryStreamCall", "_ServicerContext")
    )


class Torrent:
    """A language model that writes 16 MiB as fast as anybody lets it, 256 KiB at a time."""

    def __init__(self) -> None:
        self.pieces = 0

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        while self.pieces < 64:
            self.pieces += 1
            yield TextPiece("x" * 2**18)


class Gallery:
    """A decoder that shows 16 MiB of previews as fast as anybody lets it, 256 KiB at a time."""

    def __init__(self) -> None:
        self.pieces = 0

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        while self.pieces < 64:
            self.pieces += 1
            yield Progress(1, 2, Media("image/toy", b"x" * 2**18))


@either
async def test_who_has_said_the_last_word_is_not_waited_for_and_not_cancelled(stream: str) -> None:
    lingerer = Lingerer(0.3)

    async with last_words(lingerer, stream) as last:
        assert isinstance(last, Media | Finished)
        assert lingerer.endings == []
        await until(lambda: lingerer.endings != [])

    assert lingerer.endings == ["left"]


@either
async def test_who_does_not_leave_after_the_last_word_is_cancelled(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 0.05)
    lingerer = Lingerer(60)

    async with last_words(lingerer, stream):
        await until(lambda: lingerer.endings != [])

    assert lingerer.endings == ["CancelledError"]


@either
async def test_a_call_that_is_over_leaves_nothing_to_the_garbage_collector(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 0.2)
    gc.collect()
    before = calls()
    gc.disable()
    try:
        async with last_words(Lingerer(0.05), stream):
            assert (calls() - before).keys() == {"UnaryStreamCall", "_ServicerContext"}
            await until(lambda: calls() == before)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("torrent", "stream"),
    [
        (Torrent(), lambda channel: RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(10))),
        (Gallery(), lambda channel: RemoteDecoder(channel).decode(JOB, Deadline.after(10))),
    ],
    ids=["text", "previews"],
)
async def test_a_stalled_reader_holds_less_than_a_megabyte(torrent: Torrent | Gallery, stream: Any) -> None:
    async with served(torrent) as (_, channel):
        events = stream(channel)
        await anext(events)
        await asyncio.sleep(0.3)
        held = (torrent.pieces - 1) * 2**18
        await events.aclose()

    assert held <= 10**6
