"""Tests of failures, cancellations, deadlines and retries of media that other parts take."""

from __future__ import annotations

from contextlib import aclosing
from uuid import uuid4

import pytest

from motet.core.errors import FaultError, OverloadedError, Reason, RetryableError
from motet.core.events import TEXT, PartFailed, PartProgress, PartStarted, State
from motet.core.request import FailurePolicy
from motet.core.telemetry.families import generation_metrics
from motet.toys.workers import InjectedFault, Pause, ToyDecoder
from tests.orchestrator.edges import edge_decoders, edge_orchestrator
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    media_of,
    modalities_of,
    no_tasks_left,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    wait_idle,
)
from tests.waiting import in_virtual_time

BROKEN = InjectedFault(FaultError("it broke"))
HANGS = InjectedFault(Pause())


def decoder_with(modality, fault):
    """Return toy decoders of which one has a fault."""
    return edge_decoders(**{modality: ToyDecoder(modality, media_type=f"x/{modality}", fault=fault)})


def failures_of(events):
    """Return the failure of each failed part, by modality."""
    modality = {part.part_id: part.modality for part in payloads_of(events, PartStarted)}
    return {modality[failed.part_id]: failed for failed in payloads_of(events, PartFailed)}


def reasons_of(events):
    """Return the reason of each failed part, by modality."""
    return {modality: failed.error.reason for modality, failed in failures_of(events).items()}


async def test_a_failed_input_fails_all_parts_that_need_it_and_no_others():
    decoders = decoder_with("a", BROKEN)

    events = await run_generation(edge_orchestrator(decoders), request_of("abcdb"))

    assert reasons_of(events) == {
        "a": Reason.WORKER_FAULT,
        "c": Reason.DEPENDENCY_FAILED,
        "d": Reason.DEPENDENCY_FAILED,
    }
    assert len(media_of(events)) == 2
    assert not decoders["c"].seen
    assert not decoders["d"].seen


async def test_with_a_text_fallback_the_dependent_parts_get_a_text_too():
    request = request_of("-a-c", failure_policy=FailurePolicy.TEXT_FALLBACK)

    events = await run_generation(edge_orchestrator(decoder_with("a", BROKEN)), request)

    assert all(failed.fallback_part_id for failed in failures_of(events).values())
    assert modalities_of(events).count(TEXT) == 4


async def test_if_the_request_requires_all_parts_a_failed_input_stops_everything():
    decoders = decoder_with("a", BROKEN)
    request = request_of("bacd", failure_policy=FailurePolicy.ALL_OR_NOTHING)

    events = await run_generation(edge_orchestrator(decoders), request)

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.reason is Reason.WORKER_FAULT
    assert not decoders["c"].seen


@pytest.mark.parametrize(("fault", "retryable"), [(FaultError("no"), False), (RetryableError("gone"), True)])
async def test_a_part_may_succeed_later_if_its_input_may(fault, retryable):
    events = await run_generation(edge_orchestrator(decoder_with("a", InjectedFault(fault))), request_of("abcd"))

    assert {failed.retryable for failed in failures_of(events).values()} == {retryable}


@in_virtual_time
async def test_an_input_that_hangs_fails_with_its_dependents_after_its_time():
    orchestrator = edge_orchestrator(decoder_with("a", HANGS), media_job_timeout=2.0)

    async with no_tasks_left():
        events = await run_generation(orchestrator, request_of("abcd"))

    assert reasons_of(events)["a"] is Reason.DEADLINE_EXCEEDED
    assert reasons_of(events)["d"] is Reason.DEPENDENCY_FAILED
    assert len(media_of(events)) == 1


@in_virtual_time
async def test_a_part_that_waits_for_its_input_is_no_running_media_job():
    running = {name: [] for name in "ac"}
    slow = edge_decoders(a=ToyDecoder("a", media_type="x/a", delay=1.0), c=ToyDecoder("c", media_type="x/c", delay=1.0))

    async with aclosing(edge_orchestrator(slow).generate(request_of("ac"))) as events:
        async for event in events:
            if isinstance(event.payload, PartProgress) and event.payload.step == 1:
                for name, counts in running.items():
                    counts.append(int(generation_metrics.MEDIA_JOBS_RUNNING.labels(name)._value.get()))

    assert running == {"a": [1, 0], "c": [0, 1]}


@in_virtual_time
async def test_the_deadline_ends_parts_that_wait_for_their_inputs():
    decoders = decoder_with("a", HANGS)

    async with no_tasks_left():
        events = await run_generation(edge_orchestrator(decoders), request_of("abcd", timeout=3.0))

    assert set(reasons_of(events).values()) == {Reason.DEADLINE_EXCEEDED}
    assert set(reasons_of(events)) == set("acd")
    assert not decoders["c"].seen


async def test_a_cancellation_reaches_inputs_and_dependents():
    decoders = decoder_with("c", HANGS)
    orchestrator = edge_orchestrator(decoders)

    async with no_tasks_left(), aclosing(orchestrator.generate(request_of("abcd"))) as stream:
        events = [await anext(stream)]
        async for event in stream:
            events.append(event)
            if decoders["c"].running and not decoders["d"].seen:
                await orchestrator.cancel(events[0].payload.generation)
        await wait_idle(orchestrator)

    check_events(events)
    assert record_of(events).state is State.CANCELLED
    assert reasons_of(events) == {"c": Reason.CANCELLED, "d": Reason.CANCELLED}
    assert not any(decoder.running for decoder in decoders.values())


@pytest.mark.parametrize("modality", ["a", "c", "d"])
async def test_a_retry_of_an_input_or_of_a_dependent_part_keeps_all_bytes(modality):
    busy = InjectedFault(OverloadedError("busy", retry_after=0.001), after=1, times=1)

    expected = await run_generation(edge_orchestrator(), request_of("abcd"))
    events = await run_generation(edge_orchestrator(decoder_with(modality, busy)), request_of("abcd"))

    assert record_of(events).state is State.SUCCEEDED
    assert media_of(events) == media_of(expected)


async def test_a_repeated_request_follows_the_same_generation_and_its_edges():
    decoders = edge_decoders()
    orchestrator = edge_orchestrator(decoders)
    request = request_of("abcd", request_id=str(uuid4()))

    first = await run_generation(orchestrator, request)
    again = await run_generation(orchestrator, request)

    assert [event.payload for event in again][1:] == [event.payload for event in first][1:]
    assert len(decoders["d"].seen) == 1
