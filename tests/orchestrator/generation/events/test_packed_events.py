"""Tests of packed events: readers get equal events, and the events take little memory."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from contextlib import aclosing
from dataclasses import fields, replace
from typing import get_args

import numpy as np
import pytest

from motet.core.errors import FaultError, NotFoundError, OverloadedError, RequestError
from motet.core.events import (
    Accepted,
    Artifact,
    CallSource,
    Done,
    EventPayload,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanInput,
    PlanNode,
    State,
    Usage,
    WorkerCall,
)
from motet.core.media import Media
from orchestrator.generation.events import event_log, packed_events
from orchestrator.generation.events.event_log import EventLog
from orchestrator.generation.events.packed_events import BLOCK, PackedEvents

DIGEST = bytes(range(32))
ARTIFACT = Artifact("artifacts/x", "a", "x/a", 600_000, DIGEST, 1764709561.123456)
NODES = (
    PlanNode("part-1", "a"),
    PlanNode("part-2", "b", (PlanInput("a", "part-1"), PlanInput("b", artifact="artifacts/y"))),
)
ERROR = RequestError("no", metadata={"limit": "1"})
TEXTS = ["", "x", '\u00fc \U0001f3b5 \ud800 \x00 "quoted"', "long" * 1000]
PARTS = PartDone("part-0", DIGEST), PartDone("part-1", DIGEST, ARTIFACT, {"seed": "7", "bundle": "toy"})
FAILURES = (PartFailed("part-2", ERROR, True, "part-2-text"),)
USAGE = Usage(5, 9, 2, 0.1 + 0.2, 1)
CALLS = (
    WorkerCall("llm", 1e-7, None),
    WorkerCall("decoder", 0.1, 1 / 3, "part-1", CallSource.CACHE, 0.05, 0.0, 3, 2, 0.25, 1.5, 2.5),
)
LATER = OverloadedError("later")
RECORD = Generation(
    "generations/x", State.PARTIAL, PARTS, FAILURES, USAGE, LATER, 1764709560.5, 1764709999.0, 77, CALLS
)
PAYLOADS = [
    Accepted("generations/x", 2**64 - 1, 1764709561.25),
    PlanGrown(NODES, complete=True),
    PartStarted("part-1", 1, "a", "x/a", 12, "a caption"),
    *(PartDelta("part-0", 3, text) for text in TEXTS),
    PartDelta("part-1", 0, bytes(1000)),
    PartProgress("part-1", 1, 2),
    PartProgress("part-1", 2, 2, Media("x/p", b"preview")),
    *PARTS,
    *FAILURES,
    USAGE,
]


def log_of(repeats: int) -> EventLog:
    log = EventLog()
    for _ in range(repeats):
        for payload in PAYLOADS:
            log.append(payload)
    log.append(Done(RECORD))
    return log


async def events_after(log, after=0):
    return [event async for event in log.follow(after)]


def test_every_kind_of_event_and_every_field_is_packed():
    """A field with its default value could be lost without notice."""
    assert {type(payload) for payload in PAYLOADS} | {Done} == set(get_args(EventPayload))
    for value in (*PAYLOADS[:3], PARTS[1], ARTIFACT, FAILURES[0], USAGE, RECORD, CALLS[1]):
        defaults = [field.name for field in fields(value) if field.default == getattr(value, field.name)]
        assert defaults in ([], ["deduplicated"])


@pytest.mark.parametrize("repeats", [1, 9, 40])
async def test_a_packed_log_has_equal_events_after_any_sequence(repeats):
    log = log_of(repeats)
    events = await events_after(log)
    assert [event.payload for event in events] == [*PAYLOADS * repeats, Done(RECORD)]
    size = len(log), log.size_bytes

    log.pack()

    assert (len(log), log.size_bytes) == size
    assert log.closed
    assert log.record == RECORD
    for after in (*range(0, len(events), 7), len(events) - 1, len(events)):
        assert await events_after(log, after) == events[after:]


async def test_media_and_errors_are_not_copied():
    log = log_of(1)
    before = await events_after(log)
    log.pack()

    after = await events_after(log)

    for one, other in zip(before, after, strict=True):
        match one.payload, other.payload:
            case PartDelta(chunk=bytes(chunk)), PartDelta(chunk=packed):
                assert packed is chunk
            case PartProgress(preview=preview), PartProgress(preview=packed):
                assert packed is preview
            case PartFailed(error=error), PartFailed(error=packed):
                assert packed is error
    assert log.record.error is RECORD.error


async def test_readers_of_any_speed_get_the_same_events_while_a_log_is_packed():
    log = EventLog()
    received = {"in time": [], "late": []}

    async def read(name, pause):
        async with aclosing(log.follow()) as events:
            async for event in events:
                received[name].append(event)
                if pause:
                    await asyncio.sleep(0)

    readers = [asyncio.create_task(read(name, name == "late")) for name in received]
    for index in range(5 * BLOCK):
        log.append(PartDelta("part-0", index, str(index)))
        if index % 2:
            await asyncio.sleep(0)
    log.append(Done(RECORD))
    log.pack()
    await asyncio.gather(*readers)

    assert received["in time"] == received["late"]
    assert [event.sequence for event in received["late"]] == [*range(1, 5 * BLOCK + 2)]


async def test_a_reader_of_packed_events_that_are_discarded_gets_an_error_and_the_record_stays():
    log = log_of(9)
    log.pack()
    async with aclosing(log.follow()) as reader:
        await anext(reader)
        log.discard()

        with pytest.raises(NotFoundError, match="was removed before"):
            await anext(reader)

    assert log.record == RECORD
    assert log.stored_bytes < 10_000


async def test_events_are_packed_in_blocks_however_many_there_are(monkeypatch):
    """Otherwise, the end of a generation of many events would hold the event loop."""
    sizes, pack = [], packed_events.pack_events

    def recorded(events, *rest):
        sizes.append(len(events))
        return pack(events, *rest)

    monkeypatch.setattr(packed_events, "pack_events", recorded)
    log = log_of(300)
    while_running, sizes[:] = sizes[:], []
    log.pack()

    assert set(while_running) == {BLOCK}
    assert sum(sizes) <= event_log._LATEST
    assert max(sizes) <= BLOCK


async def test_an_event_that_cannot_be_packed_stays_readable(caplog):
    caplog.set_level(logging.CRITICAL)
    log = EventLog()
    odd = object()
    for index in range(3 * BLOCK):
        log.append(PartDelta("part-0", index, "x"))
    log.append(Accepted("generations/x", odd))
    log.append(Done(RECORD))
    log.pack()

    events = await events_after(log)

    assert len(events) == 3 * BLOCK + 2
    assert events[-2].payload.seed is odd
    assert log.record == RECORD
    assert log.stored_bytes >= log.size_bytes


async def test_numbers_of_array_libraries_are_packed():
    log = EventLog()
    log.append(Usage(np.int64(3), 4, 5, np.float64(0.25)))
    log.append(Done(RECORD))
    events = await events_after(log)
    log.pack()

    assert await events_after(log) == events


def test_the_size_of_packed_events_is_their_memory():
    logs = [EventLog() for _ in range(20)]
    tracemalloc.start()
    try:
        for number, log in enumerate(logs):
            for index in range(200):
                log.append(PartDelta("part-0", index, f"{number * index:40}"))
            log.append(PartDelta("part-1", 0, bytes(5000)))
            error = FaultError(f"{number} is broken")
            log.append(PartFailed("part-2", error))
            log.append(Done(replace(RECORD, failures=(), error=error)))
            log.pack()
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.8 * memory < sum(log.stored_bytes for log in logs) < 1.5 * memory


def test_packed_events_have_no_record_before_their_end():
    assert PackedEvents().record is None
    assert not PackedEvents().closed
