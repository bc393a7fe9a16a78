"""Tests of workers' streams over gRPC: the end of a call, and readers that stall."""

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
from tests.waiting import unchanged, until

PROMPT = Prompt((Turn("user", ("hi",)),))

both_workers = pytest.mark.parametrize("stream", ["decode", "generate"])
"""Run a test with the stream of a decoder and with the stream of a language model."""


class SlowEnding:
    """A decoder and a language model that yield their final event and then run until `may_end` is set."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.endings: list[str] = []
        """For each call, "ended" or the name of the exception that ended it."""

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        yield Media("image/toy", b"x" * 2**19)
        await self._end()

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        yield Finished("stop", 1, 1)
        await self._end()

    async def _end(self) -> None:
        try:
            await self.may_end.wait()
            self.endings.append("ended")
        except BaseException as error:
            self.endings.append(type(error).__name__)
            raise


@asynccontextmanager
async def final_event(worker: SlowEnding, stream: str) -> AsyncIterator[LanguageEvent | Progress | Media]:
    """Serve a worker, read its final event, and close the stream."""
    async with served(worker) as (_, channel):
        decoded = RemoteDecoder(channel).decode(JOB, Deadline.after(30))
        generated = RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(30))
        async with closing(decoded if stream == "decode" else generated) as events:
            event = await anext(events)
        yield event


def calls() -> Counter[str]:
    """Count the calls with a response stream that are in memory, in clients and in servers."""
    return Counter(
        kind for one in gc.get_objects() if (kind := type(one).__name__) in ("UnaryStreamCall", "_ServicerContext")
    )


class FastLanguageModel:
    """A language model that generates 16 MiB without pauses, 256 KiB at a time."""

    def __init__(self) -> None:
        self.produced = 0
        """The number of yielded events."""

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        while self.produced < 64:
            self.produced += 1
            yield TextPiece("x" * 2**18)


class FastDecoder:
    """A decoder that yields 16 MiB of previews without pauses, 256 KiB at a time."""

    def __init__(self) -> None:
        self.produced = 0
        """The number of yielded events."""

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        while self.produced < 64:
            self.produced += 1
            yield Progress(1, 2, Media("image/toy", b"x" * 2**18))


@both_workers
async def test_the_client_does_not_wait_for_the_end_after_the_final_event_and_does_not_cancel(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 60)
    worker = SlowEnding()

    async with final_event(worker, stream) as event:
        assert isinstance(event, Media | Finished)
        assert worker.endings == []
        worker.may_end.set()
        await until(lambda: worker.endings != [])

    assert worker.endings == ["ended"]


@both_workers
async def test_a_worker_that_does_not_end_after_the_final_event_is_cancelled(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 0.05)
    worker = SlowEnding()

    async with final_event(worker, stream):
        await until(lambda: worker.endings != [])

    assert worker.endings == ["CancelledError"]


@both_workers
async def test_an_ended_call_is_freed_without_the_garbage_collector(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.transport.client_call._END_TIMEOUT", 0.2)
    gc.collect()
    before = calls()
    gc.disable()
    try:
        worker = SlowEnding()
        async with final_event(worker, stream):
            assert (calls() - before).keys() == {"UnaryStreamCall", "_ServicerContext"}
            worker.may_end.set()
            await until(lambda: calls() == before)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("worker_class", "stream"),
    [
        (FastLanguageModel, lambda channel: RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(30))),
        (FastDecoder, lambda channel: RemoteDecoder(channel).decode(JOB, Deadline.after(30))),
    ],
    ids=["text", "previews"],
)
async def test_a_stalled_reader_holds_less_than_a_megabyte(
    worker_class: type[FastLanguageModel | FastDecoder], stream: Any
) -> None:
    worker = worker_class()

    async with served(worker) as (_, channel):
        events = stream(channel)
        await anext(events)
        await unchanged(lambda: worker.produced)
        held = (worker.produced - 1) * 2**18
        await events.aclose()

    assert held <= 10**6
