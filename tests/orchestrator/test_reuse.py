"""Tests of the media cache: equal jobs of one tenant are decoded once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from motet.core.errors import Reason, RetryableError
from motet.core.events import PartDone, PartFailed, PartProgress, State
from motet.core.request import DecoderOptions
from motet.toys.workers import InjectedFault, Pause, ToyDecoder
from tests.orchestrator.pipeline_harness import (
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
from tests.waiting import in_virtual_time

SCRIPT = script_of("An a: ", signal_run("a"))


@in_virtual_time
async def test_a_repeated_request_gets_the_cached_media() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    first, repeated = await run_generation(orchestrator), await run_generation(orchestrator)

    assert media_of(first) == media_of(repeated)
    assert len(toy.seen) == 1
    assert payloads_of(repeated, PartProgress) == []
    provenances = [
        done.provenance for events in (first, repeated) for done in payloads_of(events, PartDone) if done.artifact
    ]
    assert provenances[0] == provenances[1]


@in_virtual_time
async def test_another_seed_another_tenant_and_other_steps_are_no_cache_hits() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    for request in (
        request_of(),
        request_of(seed=8),
        request_of(tenant="another"),
        request_of(decoder_options={"a": DecoderOptions(steps=3)}),
    ):
        await run_generation(orchestrator, request)

    assert len(toy.seen) == 4


@in_virtual_time
async def test_without_a_cache_equal_jobs_are_decoded_each_time() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy), media_cache_bytes=0)

    await asyncio.gather(run_generation(orchestrator), run_generation(orchestrator))

    assert len(toy.seen) == 2


@in_virtual_time
async def test_equal_jobs_of_concurrent_generations_are_decoded_once() -> None:
    toy = ToyDecoder("a", delay=0.02)
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    answers = await asyncio.gather(*(run_generation(orchestrator) for _ in range(8)))

    assert len(toy.seen) == 1
    assert len({media_of(events)["part-1"] for events in answers}) == 1
    assert all(len(payloads_of(events, PartProgress)) == 2 for events in answers)


@in_virtual_time
async def test_a_caller_that_cancels_does_not_stop_a_shared_job() -> None:
    toy = ToyDecoder("a", delay=0.05)
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))
    other = asyncio.create_task(run_generation(orchestrator))

    async with aclosing(orchestrator.generate(request_of())) as events:
        async for event in events:
            if isinstance(event.payload, PartProgress):
                break

    assert record_of(await other).state is State.SUCCEEDED
    assert len(toy.seen) == 1


@in_virtual_time
async def test_a_shared_job_stops_when_all_its_callers_have_cancelled() -> None:
    toy = ToyDecoder("a", fault=InjectedFault(Pause(), after=1))
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    async def cancel_early() -> None:
        async with aclosing(orchestrator.generate(request_of())) as events:
            async for event in events:
                if isinstance(event.payload, PartProgress):
                    return

    await asyncio.gather(cancel_early(), cancel_early())
    await wait_idle(orchestrator)

    assert toy.running == 0
    assert len(toy.seen) == 1


@in_virtual_time
async def test_a_shared_job_is_retried_once_for_all_its_callers() -> None:
    lost = RetryableError("the worker is gone", Reason.WORKER_LOST)
    toy = ToyDecoder("a", delay=0.02, fault=InjectedFault(lost, times=1))

    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    answers = await asyncio.gather(*(run_generation(orchestrator) for _ in range(3)))

    assert {record_of(events).state for events in answers} == {State.SUCCEEDED}
    assert len(toy.seen) == 2


@in_virtual_time
async def test_a_failure_is_not_cached() -> None:
    lost = RetryableError("the worker is gone", Reason.WORKER_LOST)
    toy = ToyDecoder("a", fault=InjectedFault(lost, times=2))
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    first, repeated = await run_generation(orchestrator), await run_generation(orchestrator)

    assert len(payloads_of(first, PartFailed)) == 1
    assert record_of(repeated).state is State.SUCCEEDED
