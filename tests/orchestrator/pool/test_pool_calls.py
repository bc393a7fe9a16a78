"""The demand of a pool: work that waits and work that runs, and when a pool becomes active and idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import REGISTRY

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError
from motet.toys.workers import InjectedFault
from orchestrator.pool.demand import Demand
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.pool import Pool
from orchestrator.pool.pool_calls import PoolCalls
from orchestrator.pool.queued_call import QueuedCall
from tests.orchestrator.pool_harness import LOST, STEPS, PoolHarness, settle
from tests.waiting import in_virtual_time

SECONDS = STEPS * 0.1
"""Duration of a job in seconds."""
IDLE = Demand(0, 0.0, 0.0)


@asynccontextmanager
async def states_of(pool: Pool) -> AsyncIterator[list[bool]]:
    """Yield the list of all states that a reader of the pool has got."""
    states: list[bool] = []

    async def read() -> None:
        async for active in pool.calls.watch_active():
            states.append(active)

    task = asyncio.create_task(read())
    await settle()
    yield states
    await settle()
    task.cancel()
    await asyncio.wait({task})


@in_virtual_time
async def test_a_pool_without_replicas_and_with_one_waiting_call_is_active():
    async with PoolHarness(wait_for_replicas=True) as harness, states_of(harness.pool) as states:
        assert harness.pool.calls.demand == IDLE
        task = harness.start()
        await settle()
        assert states == [False, True], "without a delay"

        await asyncio.sleep(5)
        assert harness.pool.calls.demand == Demand(1, pytest.approx(SECONDS), pytest.approx(5))
        await harness.set_members(0)
        await task
        await settle()
        assert states == [False, True, False]
        assert harness.pool.calls.demand == IDLE


@in_virtual_time
async def test_a_burst_is_one_wake_and_a_pool_that_keeps_up_is_active_until_its_last_call_has_ended():
    async with PoolHarness(None, slots=20) as harness, states_of(harness.pool) as states:
        tasks = [harness.start(seed=number, steps=STEPS * (1 + number)) for number in range(5)]
        await settle()
        assert harness.pool.waiting == 0
        assert harness.pool.calls.demand == Demand(5, pytest.approx(15 * SECONDS), 0.0)

        for ended in range(1, 5):
            await tasks[ended - 1]
            await settle()
            assert harness.pool.calls.demand.calls == 5 - ended
            assert states == [False, True]
        await tasks[-1]
        await settle()
        assert states == [False, True, False]


@in_virtual_time
async def test_a_call_counts_while_it_waits_between_two_attempts():
    async with PoolHarness(InjectedFault(LOST, times=1)) as harness, states_of(harness.pool) as states:
        await harness.start()
        await settle()
        assert states == [False, True, False]


def test_work_that_takes_longer_than_predicted_still_counts():
    calls, call = PoolCalls(DurationEstimate(0.1)), QueuedCall("", 0, STEPS, SECONDS, 0.0)
    with calls.counted(call):
        call.done = STEPS
        assert calls.demand == Demand(1, pytest.approx(0.1), 0.0)
    assert calls.demand == IDLE


@in_virtual_time
async def test_a_reservation_makes_a_pool_active_until_it_is_released_or_its_call_has_ended():
    async with PoolHarness(None, reservation_timeout=3) as harness, states_of(harness.pool) as states:
        released, expired = (harness.decoder.reserve(steps=None, tenant="", priority=0) for _ in range(2))
        await settle()
        assert states == [False, True]
        assert harness.pool.calls.demand == Demand(2, pytest.approx(2 * SECONDS), 0.0)

        released.release()
        await settle()
        assert states == [False, True]
        await asyncio.sleep(4)
        assert states == [False, True, False]
        expired.release()
        assert harness.pool.calls.demand == IDLE


@in_virtual_time
async def test_calls_that_are_cancelled_time_out_or_are_refused_count_no_more():
    async with PoolHarness(None, queue_seconds=SECONDS) as harness:
        running = harness.start()
        late = harness.start(seed=1, deadline=Deadline.after(0.1))
        await asyncio.sleep(0.05)
        full = harness.start(seed=2, steps=100 * STEPS)
        await settle()
        assert harness.pool.calls.demand.calls == 2
        with pytest.raises(OverloadedError):
            await full
        with pytest.raises(DeadlineError):
            await late
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await settle()

        assert harness.pool.calls.demand == IDLE


@in_virtual_time
async def test_a_slow_reader_gets_the_latest_state_and_not_each_change():
    async with PoolHarness(None) as harness:
        states = harness.pool.calls.watch_active()
        assert await anext(states) is False
        for number in range(5):
            await harness.start(seed=number)
        last = harness.start(seed=9)
        await settle()

        assert await anext(states) is True
        await last
        assert await anext(states) is False
        await states.aclose()
        assert not harness.pool.calls._watches


@in_virtual_time
async def test_the_gauges_of_a_pool_have_its_demand_until_it_is_closed():
    def gauge(name: str) -> float | None:
        return REGISTRY.get_sample_value(f"motet_pool_{name}_seconds", {"pool": "a"})

    async with PoolHarness(None) as harness:
        assert (gauge("demand"), gauge("oldest_wait")) == (0, 0), "a pool without calls has samples"
        task = harness.start()
        await settle()
        assert gauge("demand") == pytest.approx(SECONDS)
        await task
    assert (gauge("demand"), gauge("oldest_wait")) == (None, None)
