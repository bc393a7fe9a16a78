"""Tests of the event log: any number of readers from any position."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from contextlib import aclosing

import pytest

from motet.core.errors import NotFoundError
from motet.core.events import Done, Generation, PartDelta, PartProgress, State, Usage
from motet.core.media import Media
from orchestrator.generation.events.event_log import EventLog

END = Done(Generation("generations/x", State.SUCCEEDED))


async def sequences_after(log, after):
    return [event.sequence async for event in log.follow(after)]


async def test_events_are_numbered_from_1_and_read_after_any_of_them():
    log = EventLog()
    for payload in (Usage(), Usage(), END):
        log.append(payload)

    assert [await sequences_after(log, after) for after in range(4)] == [[1, 2, 3], [2, 3], [3], []]
    assert len(log) == 3


async def test_a_reader_follows_up_to_done():
    log = EventLog()
    readers = [asyncio.create_task(sequences_after(log, after)) for after in (0, 1)]
    for payload in (Usage(), Usage(), END):
        log.append(payload)
        await asyncio.sleep(0)

    assert await asyncio.gather(*readers) == [[1, 2, 3], [2, 3]]
    assert log.closed


def size_of(*payloads):
    log = EventLog()
    for payload in payloads:
        log.append(payload)
    return log.size_bytes


def test_the_size_of_a_log_counts_text_media_and_previews():
    assert size_of(PartDelta("p", 0, bytes(5000))) - size_of(PartDelta("p", 0, b"")) == 5000
    assert size_of(PartDelta("p", 0, "x" * 5000)) - size_of(PartDelta("p", 0, "")) == 5000
    preview = Media("x/a", bytes(3000))
    assert size_of(PartProgress("p", 1, 2, preview)) - size_of(PartProgress("p", 1, 2)) == 3000


def test_the_size_of_a_log_is_the_memory_of_its_events():
    tracemalloc.start()
    try:
        log = EventLog()
        for step in range(60):  # Of more events, the log would pack some.
            log.append(PartProgress("p", step + 1, 1000))
            log.append(PartDelta("p", step, f"{step:40}"))
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.7 * memory < log.size_bytes < 1.5 * memory


async def test_a_reader_of_a_discarded_log_gets_an_error_unless_it_has_read_everything():
    log = EventLog()
    for payload in (Usage(), Usage(), END):
        log.append(payload)
    async with aclosing(log.follow()) as early, aclosing(log.follow(2)) as late:
        await anext(early)
        await anext(late)
        log.discard()

        with pytest.raises(NotFoundError, match="was removed before all of its events were read"):
            await anext(early)
        with pytest.raises(StopAsyncIteration):
            await anext(late)

    assert len(log) == 3


async def test_a_stalled_reader_does_not_keep_the_events_of_a_discarded_log():
    log = EventLog()
    text = "".join(map(str, range(100)))
    for payload in (Usage(), PartDelta("p", 0, text), END):
        log.append(payload)
    async with aclosing(log.follow()) as stalled:
        await anext(stalled)
        log.discard()

        assert not [event for event in gc.get_referrers(text) if isinstance(event, PartDelta)]


async def test_the_observer_gets_each_event_once():
    observed = []
    log = EventLog(observed.append)
    log.append(Usage())
    log.append(END)

    assert observed == [Usage(), END]


def test_an_observer_that_fails_does_not_keep_events_from_readers(caplog):
    caplog.set_level(logging.CRITICAL)

    def observe(payload):
        raise ValueError("counters can only increase")

    log = EventLog(observe)
    log.append(PartDelta("part-0", 0, "x"))

    assert len(log) == 1
