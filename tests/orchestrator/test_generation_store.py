"""What is known of generations: watched from anywhere, found, listed, forgotten, bounded."""

from __future__ import annotations

import asyncio
import gc
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


async def watched(orchestrator, name, after=0):
    return [event async for event in orchestrator.watch(name, after)]


async def test_a_finished_generation_is_replayed_from_any_sequence_just_as_it_was():
    orchestrator = orchestrator_of(SCRIPT)
    events = await run_generation(orchestrator, request_of(previews=True))
    name = record_of(events).name

    for after in range(len(events) + 1):
        assert await watched(orchestrator, name, after) == events[after:]


async def test_any_number_may_watch_a_running_generation_from_any_sequence():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.005)))
    heard, watchers = [], []
    async with aclosing(orchestrator.generate(request_of())) as events:
        async for event in events:
            heard.append(event)
            watchers.append(asyncio.create_task(watched(orchestrator, heard[0].payload.generation, len(heard))))

    for after, watcher in enumerate(watchers, start=1):
        assert await watcher == heard[after:]


async def test_a_watcher_who_leaves_cancels_nothing():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.005)))
    async with aclosing(orchestrator.generate(request_of())) as events:
        first = await anext(events)
        async with aclosing(orchestrator.watch(first.payload.generation)) as watching:
            await anext(watching)
        rest = [event async for event in events]

    assert record_of(rest).state is State.SUCCEEDED


async def test_a_caller_who_does_not_read_holds_nothing_up():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x" * 2000, signal_run("a")))
    orchestrator = orchestrator_of(model, text_interval=0)
    async with aclosing(orchestrator.generate(request_of())) as slow:
        name = (await anext(slow)).payload.generation
        fast = await watched(orchestrator, name)
        check_events(fast)
        assert (await orchestrator.get(name)).state is State.SUCCEEDED
        rest = [event async for event in slow]

    assert rest == fast[1:]


async def test_each_byte_of_media_is_held_once():
    orchestrator = orchestrator_of(script_of(signal_run("a")), toy_decoders(a=ToyDecoder(size=600_000)))
    events = await run_generation(orchestrator)
    artifact = record_of(events).parts[0].artifact

    told = [delta.chunk for delta in payloads_of(events, PartDelta)]
    kept = [chunk async for chunk in orchestrator.download(artifact.name)]

    assert [len(chunk) for chunk in kept] == [262_144, 262_144, 600_000 - 2 * 262_144]
    assert all(one is other for one, other in zip(told, kept, strict=True))


@pytest.mark.parametrize("after", [-1, 10_000])
async def test_watching_from_a_sequence_that_never_was_is_refused(after):
    orchestrator = orchestrator_of(SCRIPT)
    name = record_of(await run_generation(orchestrator)).name

    with pytest.raises(RequestError, match="events so far"):
        await watched(orchestrator, name, after)


async def test_what_is_not_known_is_not_found():
    orchestrator = orchestrator_of()
    for call in (orchestrator.get, orchestrator.cancel, lambda name: watched(orchestrator, name)):
        with pytest.raises(NotFoundError) as caught:
            await call("generations/none")
        assert caught.value.reason is Reason.GENERATION_NOT_FOUND


async def test_a_running_generation_can_be_looked_up():
    orchestrator = orchestrator_of(script_of("x", Pause()))
    async with aclosing(orchestrator.generate(request_of())) as events:
        name = (await anext(events)).payload.generation
        record = await orchestrator.get(name)

    assert (record.state, record.expire_time, record.error) == (State.RUNNING, None, None)


async def test_a_finished_generation_is_forgotten_after_its_time():
    orchestrator = orchestrator_of(SCRIPT, result_ttl=0.05)
    record = record_of(await run_generation(orchestrator))

    assert await orchestrator.get(record.name) == record
    await asyncio.sleep(0.06)

    with pytest.raises(NotFoundError):
        await orchestrator.get(record.name)
    assert await orchestrator.generations() == ([], "")


async def test_the_least_recently_used_results_make_room_when_there_are_too_many_bytes():
    orchestrator = orchestrator_of(
        script_of(signal_run("a")), toy_decoders(a=ToyDecoder(size=1000)), max_result_bytes=2500
    )
    first, second = [record_of(await run_generation(orchestrator, request_of(seed=seed))).name for seed in (1, 2)]
    await orchestrator.get(first)

    third = record_of(await run_generation(orchestrator, request_of(seed=3))).name

    assert [record.name for record in (await orchestrator.generations())[0]] == [third, first]
    with pytest.raises(NotFoundError):
        await orchestrator.get(second)


async def test_the_number_of_results_is_bounded_too():
    orchestrator = orchestrator_of(SCRIPT, max_results=2)
    for _ in range(4):
        await run_generation(orchestrator)

    assert len((await orchestrator.generations())[0]) == 2


async def test_what_is_forgotten_is_held_by_nobody():
    orchestrator = orchestrator_of(SCRIPT, max_results=1)
    for _ in range(5):
        await run_generation(orchestrator)

    gc.collect()

    known = {record.name for record in (await orchestrator.generations())[0]}
    # By `type`: `isinstance` asks every object in memory for its class, and some of torch's answer with a warning.
    assert {held.name for held in gc.get_objects() if type(held) is GenerationTask} == known


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


async def test_a_page_goes_on_where_the_last_one_ended_though_new_ones_began():
    orchestrator = orchestrator_of(SCRIPT)
    names = [record_of(await run_generation(orchestrator)).name for _ in range(3)]
    _, token = await orchestrator.generations(2)
    await run_generation(orchestrator)

    page, _ = await orchestrator.generations(2, token)

    assert [record.name for record in page] == names[:1]


@pytest.mark.parametrize("token", ["AAAA", "not a token", "\u00fc", "A" * 256, "AAAAAAAAAAAAAAAAAAAAAA=="])
async def test_a_page_token_that_was_not_given_out_is_refused(token):
    with pytest.raises(RequestError, match="page token"):
        await orchestrator_of().generations(0, token)


async def test_no_more_generations_run_than_the_server_takes_and_the_others_are_told_when_to_come_again():
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
    request = request_of("x", Media("x/a", b"looked at for a while"), request_id=str(uuid4()), seed=None)

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


async def test_a_request_id_is_not_for_two_different_requests():
    orchestrator = orchestrator_of(SCRIPT)
    request = request_of(request_id=str(uuid4()))
    await run_generation(orchestrator, request)

    with pytest.raises(RequestError) as caught:
        await run_generation(orchestrator, replace(request, seed=99))

    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_request_whose_generation_came_to_nothing_may_be_repeated():
    answers = iter([[FaultError("no")], script_of("yes")])
    orchestrator = orchestrator_of(lambda prompt: next(answers))
    request = request_of(request_id=str(uuid4()))

    first, second = [record_of(await run_generation(orchestrator, request)) for _ in range(2)]

    assert (first.state, second.state) == (State.FAILED, State.SUCCEEDED)
    assert first.name != second.name


async def test_a_generation_that_two_callers_follow_goes_on_until_both_have_left():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x", Pause()))
    orchestrator = orchestrator_of(model)
    request = request_of(request_id=str(uuid4()))
    one, other = orchestrator.generate(request), orchestrator.generate(request)
    for events in (one, other):
        while not isinstance((await anext(events)).payload, PartDelta):
            pass

    await one.aclose()
    assert model.running == 1
    await other.aclose()
    assert model.running == 0
    await wait_idle(orchestrator)
