"""Tests of the places at the door: a tenant that asks for all of them leaves room for others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from motet.core.errors import OverloadedError, Reason
from motet.core.events import State
from motet.toys.workers import Pause
from tests.orchestrator.pipeline_harness import (
    orchestrator_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    wait_idle,
)
from tests.waiting import until


def hang_or_answer(prompt):
    """Hang for a greedy tenant, and answer another."""
    return script_of("x", Pause()) if prompt.tenant == "greedy" else script_of("fine")


async def start_all(orchestrator, stack, tenant, attempts, **options):
    """Start generations until one is refused. Return their number."""
    for count in range(attempts):
        try:
            events = await stack.enter_async_context(
                aclosing(orchestrator.generate(request_of(tenant=tenant, **options)))
            )
            await anext(events)
        except OverloadedError:
            return count
    return attempts


@pytest.mark.parametrize("detach", [False, True])
async def test_a_tenant_with_many_generations_leaves_places_for_others(detach):
    orchestrator = orchestrator_of(hang_or_answer, max_generations=64)
    async with AsyncExitStack() as stack:
        assert await start_all(orchestrator, stack, "greedy", 200, detach=detach) == 52
        for tenant in ("other", "", "third"):
            for priority in (-2, 0, 2):
                record = record_of(
                    await complete(orchestrator, request_of(tenant=tenant, priority=priority, detach=detach))
                )
                assert record.state is State.SUCCEEDED
        with pytest.raises(OverloadedError, match="52 generations of this tenant are running") as caught:
            await complete(orchestrator, request_of(tenant="greedy"))
        assert caught.value.reason is Reason.QUEUE_FULL
    await orchestrator.aclose()


async def complete(orchestrator, request):
    async with aclosing(orchestrator.generate(request)) as events:
        return [event async for event in events]


async def test_loops_that_retry_without_end_refuse_no_other_tenant():
    orchestrator = orchestrator_of(lambda prompt: script_of("x", Pause(0.001)), max_generations=10)
    refused = 0

    async def loop():
        nonlocal refused
        while True:
            try:
                await complete(orchestrator, request_of(tenant="greedy"))
            except OverloadedError:
                refused += 1
                await asyncio.sleep(0)

    loops = [asyncio.create_task(loop()) for _ in range(40)]
    await until(lambda: refused > 100)
    answers = [record_of(await complete(orchestrator, request_of(tenant="other", seed=seed))) for seed in range(20)]
    for task in loops:
        task.cancel()
    await asyncio.gather(*loops, return_exceptions=True)
    await wait_idle(orchestrator)

    assert {answer.state for answer in answers} == {State.SUCCEEDED}


async def test_the_places_of_ended_generations_are_free_for_their_tenant():
    orchestrator = orchestrator_of(max_generations=5)
    for seed in range(12):
        await run_generation(orchestrator, request_of(tenant="busy", seed=seed))

    assert not orchestrator.running


async def test_a_small_server_serves_one_tenant_with_all_places():
    orchestrator = orchestrator_of(hang_or_answer, max_generations=4)
    async with AsyncExitStack() as stack:
        assert await start_all(orchestrator, stack, "greedy", 9) == 4
