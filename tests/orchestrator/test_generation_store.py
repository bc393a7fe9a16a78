"""Tests of the generation store: watching, lookup, pages, removal, limits and request ids."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing
from dataclasses import replace
from uuid import uuid4

import pytest

from motet.core.errors import FaultError, NotFoundError, OverloadedError, Reason, RequestError
from motet.core.events import Accepted, PartDelta, State
from motet.core.media import Media
from motet.toys.workers import Pause, ToyDecoder, ToyLanguageModel
from orchestrator.generation.task import GenerationTask
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    media_of,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
    wait_idle,
)

SCRIPT = script_of("An a: ", signal_run("a"), " and b: ", signal_run("b"))


async def watch(orchestrator, name, after=0):
    return [event async for event in orchestrator.watch(name, after)]


async def test_an_ended_generation_is_replayed_from_any_sequence():
    orchestrator = orchestrator_of(SCRIPT)
    events = await run_generation(orchestrator, request_of(previews=True))
    name = record_of(events).name

    for after in range(len(events) + 1):
        assert await watch(orchestrator, name, after) == events[after:]


async def test_a_running_generation_can_be_watched_by_any_number_from_any_sequence():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.005)))
    received, watchers = [], []
    async with aclosing(orchestrator.generate(request_of())) as events:
        async for event in events:
            received.append(event)
            watchers.append(asyncio.create_task(watch(orchestrator, received[0].payload.generation, len(received))))

    for after, watcher in enumerate(watchers, start=1):
        assert await watcher == received[after:]


async def test_closing_a_watch_cancels_nothing():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.005)))
    async with aclosing(orchestrator.generate(request_of())) as events:
        first = await anext(events)
        async with aclosing(orchestrator.watch(first.payload.generation)) as watching:
            await anext(watching)
        rest = [event async for event in events]

    assert record_of(rest).state is State.SUCCEEDED


async def test_a_caller_that_does_not_read_delays_nothing():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x" * 2000, signal_run("a")))
    orchestrator = orchestrator_of(model, text_interval=0)
    async with aclosing(orchestrator.generate(request_of())) as slow:
        name = (await anext(slow)).payload.generation
        fast = await watch(orchestrator, name)
        check_events(fast)
        assert (await orchestrator.get(name)).state is State.SUCCEEDED
        rest = [event async for event in slow]

    assert rest == fast[1:]


async def test_each_byte_of_media_is_in_memory_once():
    orchestrator = orchestrator_of(script_of(signal_run("a")), toy_decoders(a=ToyDecoder(size=600_000)))
    events = await run_generation(orchestrator)
    artifact = record_of(events).parts[0].artifact

    sent = [delta.chunk for delta in payloads_of(events, PartDelta)]
    stored = [chunk async for chunk in orchestrator.download(artifact.name)]

    assert [len(chunk) for chunk in stored] == [262_144, 262_144, 600_000 - 2 * 262_144]
    assert all(one is other for one, other in zip(sent, stored, strict=True))


@pytest.mark.parametrize("after", [-1, 10_000])
async def test_watching_from_a_sequence_that_does_not_exist_is_refused(after):
    orchestrator = orchestrator_of(SCRIPT)
    name = record_of(await run_generation(orchestrator)).name

    with pytest.raises(RequestError, match="events so far"):
        await watch(orchestrator, name, after)


async def test_an_unknown_generation_is_not_found():
    orchestrator = orchestrator_of()
    for call in (orchestrator.get, orchestrator.cancel, lambda name: watch(orchestrator, name)):
        with pytest.raises(NotFoundError) as caught:
            await call("generations/none")
        assert caught.value.reason is Reason.GENERATION_NOT_FOUND


async def test_a_running_generation_can_be_looked_up():
    orchestrator = orchestrator_of(script_of("x", Pause()))
    async with aclosing(orchestrator.generate(request_of())) as events:
        name = (await anext(events)).payload.generation
        record = await orchestrator.get(name)

    assert (record.state, record.expire_time, record.error) == (State.RUNNING, None, None)


async def test_an_ended_generation_is_removed_after_its_lifetime(monkeypatch):
    orchestrator = orchestrator_of(SCRIPT, result_ttl=60)
    record = record_of(await run_generation(orchestrator))

    assert await orchestrator.get(record.name) == record
    after_lifetime = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: after_lifetime)

    with pytest.raises(NotFoundError):
        await orchestrator.get(record.name)
    assert await orchestrator.generations() == ([], "")


async def test_beyond_the_size_limit_the_least_recently_used_generation_is_removed():
    orchestrator = orchestrator_of(
        script_of(signal_run("a")), toy_decoders(a=ToyDecoder(size=100_000)), max_result_bytes=250_000
    )
    first, second = [record_of(await run_generation(orchestrator, request_of(seed=seed))).name for seed in (1, 2)]
    await orchestrator.get(first)

    third = record_of(await run_generation(orchestrator, request_of(seed=3))).name

    assert [record.name for record in (await orchestrator.generations())[0]] == [third, first]
    with pytest.raises(NotFoundError):
        await orchestrator.get(second)


async def test_the_number_of_ended_generations_is_limited():
    orchestrator = orchestrator_of(SCRIPT, max_results=2)
    for _ in range(4):
        await run_generation(orchestrator)

    assert len((await orchestrator.generations())[0]) == 2


async def test_a_removed_generation_is_garbage():
    orchestrator = orchestrator_of(SCRIPT, max_results=1)
    for _ in range(5):
        await run_generation(orchestrator)

    gc.collect()

    stored = {record.name for record in (await orchestrator.generations())[0]}
    # Not `isinstance`: it reads `__class__` of every object in memory, and some of torch's objects warn then.
    assert {item.name for item in gc.get_objects() if type(item) is GenerationTask} == stored


async def test_generations_are_listed_newest_first_page_by_page():
    orchestrator = orchestrator_of(SCRIPT)
    names = [record_of(await run_generation(orchestrator)).name for _ in range(5)]

    listed, sizes, token = [], [], ""
    while True:
        page, token = await orchestrator.generations(2, token)
        listed += [record.name for record in page]
        sizes.append(len(page))
        if not token:
            break

    assert listed == names[::-1]
    assert sizes == [2, 2, 1]


async def test_the_next_page_continues_although_new_generations_started():
    orchestrator = orchestrator_of(SCRIPT)
    names = [record_of(await run_generation(orchestrator)).name for _ in range(3)]
    _, token = await orchestrator.generations(2)
    await run_generation(orchestrator)

    page, _ = await orchestrator.generations(2, token)

    assert [record.name for record in page] == names[:1]


@pytest.mark.parametrize("token", ["AAAA", "not a token", "\u00fc", "A" * 256, "AAAAAAAAAAAAAAAAAAAAAA=="])
async def test_an_invalid_page_token_is_refused(token):
    with pytest.raises(RequestError, match="page token"):
        await orchestrator_of().generations(0, token)


async def test_a_generation_beyond_the_limit_is_refused_with_a_time_for_the_retry():
    orchestrator = orchestrator_of(script_of("x", Pause()), max_generations=2)
    running = [orchestrator.generate(request_of()) for _ in range(2)]
    for events in running:
        await anext(events)

    with pytest.raises(OverloadedError) as caught:
        await anext(orchestrator.generate(request_of()))

    assert caught.value.reason is Reason.QUEUE_FULL
    assert caught.value.retry_after > 0
    await running.pop().aclose()
    running.append(orchestrator.generate(request_of()))
    assert isinstance((await anext(running[-1])).payload, Accepted)
    for events in running:
        await events.aclose()


async def test_a_second_request_with_the_same_id_follows_the_first():
    model = ToyLanguageModel(MANIFEST.grammar, SCRIPT)
    orchestrator = orchestrator_of(model)
    request = request_of("x", Media("x/a", b"a thing"), request_id=str(uuid4()), seed=None)

    first, second, third = (
        *await asyncio.gather(
            run_generation(orchestrator, request), run_generation(orchestrator, replace(request, timeout=9.0))
        ),
        await run_generation(orchestrator, request),
    )

    assert len(model.seen) == 1
    assert [payloads_of(events, Accepted)[0].deduplicated for events in (first, second, third)] == [False, True, True]
    assert first[1:] == second[1:] == third[1:]
    assert media_of(first)


async def test_a_request_id_for_a_different_request_is_refused():
    orchestrator = orchestrator_of(SCRIPT)
    request = request_of(request_id=str(uuid4()))
    await run_generation(orchestrator, request)

    with pytest.raises(RequestError) as caught:
        await run_generation(orchestrator, replace(request, seed=99))

    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_request_whose_generation_failed_can_be_repeated():
    scripts = iter([[FaultError("no")], script_of("yes")])
    orchestrator = orchestrator_of(lambda prompt: next(scripts))
    request = request_of(request_id=str(uuid4()))

    first, second = [record_of(await run_generation(orchestrator, request)) for _ in range(2)]

    assert (first.state, second.state) == (State.FAILED, State.SUCCEEDED)
    assert first.name != second.name


async def test_a_generation_of_two_callers_stops_when_both_have_closed_their_streams():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x", Pause()))
    orchestrator = orchestrator_of(model)
    request = request_of(request_id=str(uuid4()))
    first, second = orchestrator.generate(request), orchestrator.generate(request)
    for events in (first, second):
        while not isinstance((await anext(events)).payload, PartDelta):
            pass

    await first.aclose()
    assert model.running == 1
    await second.aclose()
    assert model.running == 0
    await wait_idle(orchestrator)
