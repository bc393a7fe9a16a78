"""Whoever stops a generation, at whatever point: it ends as it should, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import pytest

from motet.core.errors import Reason
from motet.core.events import PartFailed, State
from motet.core.media import Media
from motet.core.workers import Finished, TextPiece
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, Trouble
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    media_of,
    no_tasks_left,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    text_of,
    toy_decoders,
)

SCRIPT = script_of("An a: ", signal_run("a"), " a b: ", signal_run("b"), " and the end.")
POINTS = range(0, 60, 3)


class Theatre:
    """An orchestrator whose workers take their time, and a look at whether they work."""

    def __init__(self, **settings):
        self.model = ToyLanguageModel(MANIFEST.grammar, SCRIPT, delay=0.0001)
        self.decoders = toy_decoders(a=ToyDecoder("a", delay=0.002), b=ToyDecoder("b", delay=0.002))
        self.orchestrator = orchestrator_of(self.model, self.decoders, encoder=ToyEncoder(delay=0.001), **settings)
        self.request = request_of("hello", Media("x/a", b"a thing"))

    @property
    def working(self):
        return self.model.running + sum(decoder.running for decoder in self.decoders.values())

    async def after(self, point):
        """Begin, and come back after so many turns of the event loop: the name, and the caller's task."""
        heard = []

        async def listen(request):
            async with aclosing(self.orchestrator.generate(request)) as events:
                async for event in events:
                    heard.append(event)

        task = asyncio.create_task(listen(self.request))
        for _ in range(point):
            await asyncio.sleep(0.0003)
        return task, heard


@pytest.mark.parametrize("point", POINTS)
async def test_a_caller_who_hangs_up_leaves_no_worker_at_work(point):
    theatre = Theatre()
    async with no_tasks_left():
        task, _ = await theatre.after(point)

        task.cancel()
        await asyncio.wait({task})

        assert theatre.working == 0
        assert theatre.orchestrator.running == 0


@pytest.mark.parametrize("point", POINTS)
async def test_cancelling_returns_once_all_workers_are_idle_and_the_caller_is_told_the_end(point):
    theatre = Theatre()
    async with no_tasks_left():
        task, heard = await theatre.after(point + 3)
        record = await theatre.orchestrator.cancel(heard[0].payload.generation)

        assert theatre.working == 0
        assert theatre.orchestrator.running == 0
        await task
        check_events(heard)
        assert record_of(heard) == record
        if record.state is not State.SUCCEEDED:
            assert record.state is State.CANCELLED
            assert {failed.error.reason for failed in record.failures} <= {Reason.CANCELLED}


@pytest.mark.parametrize("point", range(0, 30, 2))
async def test_a_deadline_at_any_point_fails_what_is_unfinished_and_the_end_is_told_in_time(point):
    theatre = Theatre(deadline_margin=0.005)
    loop = asyncio.get_running_loop()
    timeout = 0.004 + point / 1000
    theatre.request = request_of("hello", Media("x/a", b"a thing"), timeout=timeout)
    async with no_tasks_left():
        started = loop.time()
        events = await run_generation(theatre.orchestrator, theatre.request)

        assert loop.time() - started < timeout + 0.05
        assert theatre.working == 0
        record = record_of(events)
        assert {failed.error.reason for failed in record.failures} <= {Reason.DEADLINE_EXCEEDED}
        if record.failures:
            assert record.state in (State.PARTIAL, State.FAILED)


async def test_what_hangs_is_told_before_the_callers_own_deadline_and_the_rest_is_kept():
    hanging = ToyDecoder("b", trouble=Trouble(Pause()))
    loop = asyncio.get_running_loop()
    started = loop.time()

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(b=hanging)), request_of(timeout=0.3))

    assert loop.time() - started < 0.3
    assert {failed.part_id: failed.error.reason for failed in payloads_of(events, PartFailed)} == {
        "part-3": Reason.DEADLINE_EXCEEDED
    }
    assert list(media_of(events)) == ["part-1"]
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED


async def test_the_end_is_told_in_time_even_where_a_worker_is_slow_to_stop():
    class Stubborn:
        async def decode(self, job, deadline):
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(0.2)
            yield Media("x/a", b"never")

    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=Stubborn()))
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with aclosing(orchestrator.generate(request_of(timeout=0.1))) as events:
        heard = [event async for event in events]

    assert loop.time() - started < 0.1
    check_events(heard)
    assert orchestrator.running == 1, "until the worker has stopped, its generation is not over"
    await orchestrator.cancel(record_of(heard).name)
    assert orchestrator.running == 0


async def test_a_language_model_that_says_it_has_finished_is_not_waited_for():
    class Lingering:
        async def generate(self, prompt, deadline):
            yield TextPiece("that was all")
            yield Finished("stop", 1, 1)
            await asyncio.sleep(3600)

    events = await run_generation(orchestrator_of(Lingering()))

    assert record_of(events).state is State.SUCCEEDED


async def test_a_language_model_that_will_not_stop_is_listened_to_no_more():
    class Deaf:
        heard = 0

        async def generate(self, prompt, deadline):
            # Not for ever, so that the test fails and does not hang where nobody stops listening.
            while self.heard < 1000:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.005)
                self.heard += 1
                yield TextPiece("la ")

    deaf = Deaf()
    events = await run_generation(orchestrator_of(deaf), request_of(timeout=0.1))

    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED
    assert deaf.heard < 100


async def test_the_servers_own_limit_counts_where_the_caller_sets_none():
    events = await run_generation(orchestrator_of(script_of("x", Pause()), max_duration=0.05))

    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED


async def test_workers_are_given_less_time_than_the_caller_gave():
    class Telling:
        remaining = None

        async def decode(self, job, deadline):
            self.remaining = deadline.remaining()
            yield Media("x/a", b"x")

    telling = Telling()
    await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=telling)), request_of(timeout=10))

    assert 9 < telling.remaining < 9.81


async def test_cancelling_what_is_over_changes_nothing():
    orchestrator = orchestrator_of(SCRIPT)
    record = record_of(await run_generation(orchestrator))

    assert await orchestrator.cancel(record.name) == record


async def test_a_detached_generation_goes_on_when_its_caller_hangs_up():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.01)))
    async with aclosing(orchestrator.generate(request_of(detach=True))) as events:
        name = (await anext(events)).payload.generation

    assert orchestrator.running == 1
    heard = [event async for event in orchestrator.watch(name)]

    check_events(heard)
    assert record_of(heard).state is State.SUCCEEDED


async def test_closing_the_orchestrator_stops_what_runs():
    async with orchestrator_of(script_of("x", Pause())) as orchestrator:
        events = orchestrator.generate(request_of(detach=True))
        name = (await anext(events)).payload.generation
        await events.aclose()

    assert orchestrator.running == 0
    assert (await orchestrator.get(name)).state is State.CANCELLED


async def test_text_that_was_told_stays_when_it_is_cut_off():
    orchestrator = orchestrator_of(script_of("so far", Pause()))

    events = await run_generation(orchestrator, request_of(timeout=0.1))

    assert text_of(events) == "so far"
    assert [part.part_id for part in record_of(events).parts] == ["part-0"]
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED


async def test_a_fault_of_the_orchestrator_itself_ends_the_generation_too(caplog):
    class Nonsense:
        async def decode(self, job, deadline):
            yield "neither progress nor media"

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=Nonsense()), pooled=False))

    assert {failed.error.reason for failed in payloads_of(events, PartFailed)} <= {Reason.INTERNAL}
    assert record_of(events).error.reason is Reason.INTERNAL
