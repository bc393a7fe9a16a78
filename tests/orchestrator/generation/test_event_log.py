"""Tests of the event log: any number of readers from any position."""

from __future__ import annotations

import asyncio
import logging

from motet.core.events import Done, Generation, PartDelta, PartProgress, State, Usage
from motet.core.media import Media
from orchestrator.generation.event_log import EventLog

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


async def test_the_size_of_a_log_counts_text_media_and_previews():
    log = EventLog()
    log.append(PartDelta("p", 0, b"12345"))
    log.append(PartProgress("p", 1, 2, Media("x/a", b"123")))

    assert log.size_bytes == 8


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
