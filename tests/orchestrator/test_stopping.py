"""Tests of stopping: a generation that is stopped at any point ends correctly and leaves no task behind."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import pytest

from motet.core.errors import Reason
from motet.core.events import PartFailed, State
from motet.core.media import Media
from motet.core.workers import Finished, TextPiece
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
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
from tests.waiting import in_virtual_time

SCRIPT = script_of("An a: ", signal_run("a"), " a b: ", signal_run("b"), " and the end.")
SECONDS = [0.0009 * number for number in range(20)]


class SlowDeployment:
    """An orchestrator over slow toys."""

    def __init__(self, **settings):
        self.model = ToyLanguageModel(MANIFEST.grammar, SCRIPT, delay=0.0001)
        self.decoders = toy_decoders(a=ToyDecoder("a", delay=0.002), b=ToyDecoder("b", delay=0.002))
        self.orchestrator = orchestrator_of(self.model, self.decoders, encoder=ToyEncoder(delay=0.001), **settings)
        self.request = request_of("hello", Media("x/a", b"a thing"))

    @property
    def running_calls(self):
        return self.model.running + sum(decoder.running for decoder in self.decoders.values())

    async def start(self, seconds):
        """Start a request and wait. Return the caller's task and the list of its events."""
        events = []

        async def read(request):
            async with aclosing(self.orchestrator.generate(request)) as stream:
                async for event in stream:
                    events.append(event)

        task = asyncio.create_task(read(self.request))
        await asyncio.sleep(seconds)
        return task, events


@pytest.mark.parametrize("seconds", SECONDS)
@in_virtual_time
async def test_a_cancelled_caller_stops_all_workers(seconds):
    deployment = SlowDeployment()
    async with no_tasks_left():
        task, _ = await deployment.start(seconds)

        task.cancel()
        await asyncio.wait({task})

        assert deployment.running_calls == 0
        assert deployment.orchestrator.running == 0


@pytest.mark.parametrize("seconds", SECONDS)
@in_virtual_time
async def test_cancel_returns_once_all_workers_are_idle_and_the_caller_gets_the_end(seconds):
    deployment = SlowDeployment()
    async with no_tasks_left():
        task, events = await deployment.start(seconds + 0.0009)
        record = await deployment.orchestrator.cancel(events[0].payload.generation)

        assert deployment.running_calls == 0
        assert deployment.orchestrator.running == 0
        await task
        check_events(events)
        assert record_of(events) == record
        if record.state is not State.SUCCEEDED:
            assert record.state is State.CANCELLED
            assert {failed.error.reason for failed in record.failures} <= {Reason.CANCELLED}


@pytest.mark.parametrize("point", range(0, 30, 2))
@in_virtual_time
async def test_a_deadline_at_any_point_fails_the_open_parts_and_the_end_comes_in_time(point):
    deployment = SlowDeployment(deadline_margin=0.005)
    loop = asyncio.get_running_loop()
    timeout = 0.004 + point / 1000
    deployment.request = request_of("hello", Media("x/a", b"a thing"), timeout=timeout)
    async with no_tasks_left():
        started = loop.time()
        events = await run_generation(deployment.orchestrator, deployment.request)

        assert loop.time() - started <= timeout + 0.001, "including one poll of `wait_idle`"
        assert deployment.running_calls == 0
        record = record_of(events)
        assert {failed.error.reason for failed in record.failures} <= {Reason.DEADLINE_EXCEEDED}
        if record.failures:
            assert record.state in (State.PARTIAL, State.FAILED)


@in_virtual_time
async def test_a_hanging_part_fails_before_the_callers_deadline_and_other_parts_stay():
    hanging = ToyDecoder("b", fault=InjectedFault(Pause()))
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


@in_virtual_time
async def test_the_end_comes_in_time_although_a_worker_is_slow_to_stop():
    class SlowToStop:
        async def decode(self, job, deadline):
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(0.2)
            yield Media("x/a", b"never")

    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=SlowToStop()))
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with aclosing(orchestrator.generate(request_of(timeout=0.1))) as events:
        received = [event async for event in events]

    assert loop.time() - started < 0.1
    check_events(received)
    assert orchestrator.running == 1, "a generation runs until its workers have stopped"
    await orchestrator.cancel(record_of(received).name)
    assert orchestrator.running == 0


@in_virtual_time
async def test_a_generation_does_not_wait_for_a_language_model_after_finished():
    class Lingering:
        async def generate(self, prompt, deadline):
            yield TextPiece("that was all")
            yield Finished("stop", 1, 1)
            await asyncio.sleep(3600)

    events = await run_generation(orchestrator_of(Lingering()))

    assert record_of(events).state is State.SUCCEEDED


@in_virtual_time
async def test_the_events_of_a_language_model_that_ignores_cancellation_are_not_read():
    class IgnoresCancellation:
        yielded = 0

        async def generate(self, prompt, deadline):
            # The limit makes a failing test end.
            while self.yielded < 1000:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.005)
                self.yielded += 1
                yield TextPiece("la ")

    model = IgnoresCancellation()
    events = await run_generation(orchestrator_of(model), request_of(timeout=0.1))

    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED
    assert model.yielded < 100


@in_virtual_time
async def test_a_request_without_a_timeout_has_the_servers_limit():
    events = await run_generation(orchestrator_of(script_of("x", Pause()), max_duration=0.05))

    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED


@in_virtual_time
async def test_workers_get_less_time_than_the_caller():
    class RecordsDeadline:
        remaining = None

        async def decode(self, job, deadline):
            self.remaining = deadline.remaining()
            yield Media("x/a", b"x")

    recording = RecordsDeadline()
    await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=recording)), request_of(timeout=10))

    assert 9 < recording.remaining < 9.81


@in_virtual_time
async def test_cancelling_an_ended_generation_changes_nothing():
    orchestrator = orchestrator_of(SCRIPT)
    record = record_of(await run_generation(orchestrator))

    assert await orchestrator.cancel(record.name) == record


@in_virtual_time
async def test_a_detached_generation_continues_without_its_caller():
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=ToyDecoder("a", delay=0.01)))
    async with aclosing(orchestrator.generate(request_of(detach=True))) as events:
        name = (await anext(events)).payload.generation

    assert orchestrator.running == 1
    watched = [event async for event in orchestrator.watch(name)]

    check_events(watched)
    assert record_of(watched).state is State.SUCCEEDED


@in_virtual_time
async def test_closing_the_orchestrator_stops_running_generations():
    async with orchestrator_of(script_of("x", Pause())) as orchestrator:
        events = orchestrator.generate(request_of(detach=True))
        name = (await anext(events)).payload.generation
        await events.aclose()

    assert orchestrator.running == 0
    record = await orchestrator.get(name)
    assert (record.state, record.error.reason) == (State.FAILED, Reason.DRAINING)


@in_virtual_time
async def test_text_before_the_deadline_stays():
    orchestrator = orchestrator_of(script_of("so far", Pause()))

    events = await run_generation(orchestrator, request_of(timeout=0.1))

    assert text_of(events) == "so far"
    assert [part.part_id for part in record_of(events).parts] == ["part-0"]
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error.reason is Reason.DEADLINE_EXCEEDED


@in_virtual_time
async def test_a_fault_of_the_orchestrator_itself_ends_the_generation(caplog):
    class InvalidDecoder:
        async def decode(self, job, deadline):
            yield "neither progress nor media"

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=InvalidDecoder()), pooled=False))

    assert {failed.error.reason for failed in payloads_of(events, PartFailed)} <= {Reason.INTERNAL}
    assert record_of(events).error.reason is Reason.INTERNAL
