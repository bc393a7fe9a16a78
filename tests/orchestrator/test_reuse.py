"""Whoever asks for the same under the same seed gets what was made before."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from motet.core.errors import Reason, RetryableError
from motet.core.events import PartDone, PartFailed, PartProgress, State
from motet.core.request import DecoderOptions
from motet.toys.workers import Pause, ToyDecoder, Trouble
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

SCRIPT = script_of("An a: ", signal_run("a"))


async def test_a_repeated_request_gets_the_same_media_and_makes_none() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    first, again = await run_generation(orchestrator), await run_generation(orchestrator)

    assert media_of(first) == media_of(again)
    assert len(toy.seen) == 1
    assert payloads_of(again, PartProgress) == []
    provenances = [
        done.provenance for events in (first, again) for done in payloads_of(events, PartDone) if done.artifact
    ]
    assert provenances[0] == provenances[1]


async def test_another_seed_another_tenant_and_other_steps_are_other_media() -> None:
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


async def test_nothing_is_given_again_where_no_bytes_may_be_kept() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy), reuse_bytes=0)

    await asyncio.gather(run_generation(orchestrator), run_generation(orchestrator))

    assert len(toy.seen) == 2


async def test_equal_parts_of_generations_that_run_together_are_made_once() -> None:
    toy = ToyDecoder("a", delay=0.02)
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    heard = await asyncio.gather(*(run_generation(orchestrator) for _ in range(8)))

    assert len(toy.seen) == 1
    assert len({media_of(events)["part-1"] for events in heard}) == 1
    assert all(len(payloads_of(events, PartProgress)) == 2 for events in heard)


async def test_a_caller_who_hangs_up_takes_nothing_from_another_who_asked_for_the_same() -> None:
    toy = ToyDecoder("a", delay=0.05)
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))
    other = asyncio.create_task(run_generation(orchestrator))

    async with aclosing(orchestrator.generate(request_of())) as events:
        async for event in events:
            if isinstance(event.payload, PartProgress):
                break

    assert record_of(await other).state is State.SUCCEEDED
    assert len(toy.seen) == 1


async def test_no_decoder_works_when_all_who_asked_for_the_same_have_hung_up() -> None:
    toy = ToyDecoder("a", trouble=Trouble(Pause(), after=1))
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    async def leave_early() -> None:
        async with aclosing(orchestrator.generate(request_of())) as events:
            async for event in events:
                if isinstance(event.payload, PartProgress):
                    return

    await asyncio.gather(leave_early(), leave_early())
    await wait_idle(orchestrator)

    assert toy.running == 0
    assert len(toy.seen) == 1


async def test_each_of_those_who_share_a_failure_tries_once_more_and_they_share_that_too() -> None:
    lost = RetryableError("the worker is gone", Reason.WORKER_LOST)
    toy = ToyDecoder("a", delay=0.02, trouble=Trouble(lost, times=1))

    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    heard = await asyncio.gather(*(run_generation(orchestrator) for _ in range(3)))

    assert {record_of(events).state for events in heard} == {State.SUCCEEDED}
    assert len(toy.seen) == 2


async def test_what_failed_is_made_anew_when_it_is_asked_for_again() -> None:
    lost = RetryableError("the worker is gone", Reason.WORKER_LOST)
    toy = ToyDecoder("a", trouble=Trouble(lost, times=2))
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    first, again = await run_generation(orchestrator), await run_generation(orchestrator)

    assert len(payloads_of(first, PartFailed)) == 1
    assert record_of(again).state is State.SUCCEEDED
