"""Calls while no replica can be reached: they wait up to their deadline, or fail as unavailable with a delay."""

from __future__ import annotations

import asyncio

import pytest

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError, Reason
from motet.toys.workers import InjectedFault
from motet.transport.status import error_from_status_proto, error_to_status_proto
from tests.orchestrator.pool_harness import LOST, STEPS, UNREACHABLE, PoolHarness, settle
from tests.waiting import in_virtual_time

SECONDS = STEPS * 0.1
"""Duration of a job in seconds."""


def check_unavailable(error: OverloadedError) -> None:
    """Check that a caller gets UNAVAILABLE with a reason and a delay."""
    status = error_to_status_proto(error)
    received = error_from_status_proto(status)
    assert status.code == 14, "UNAVAILABLE"
    assert isinstance(received, OverloadedError)
    assert received.reason is Reason.WORKER_UNAVAILABLE
    assert received.retry_after > 0


@in_virtual_time
async def test_calls_wait_for_the_first_replica_far_beyond_the_return_timeout():
    async with PoolHarness(wait_for_replicas=True, return_timeout=15) as harness:
        tasks = [harness.start(seed=number) for number in range(3)]
        await asyncio.sleep(100)
        assert not any(task.done() for task in tasks)
        await harness.set_members(0)
        await asyncio.gather(*tasks)

        assert harness.counts == [3]
        assert now() == pytest.approx(100 + 3 * SECONDS, abs=1)
        assert harness.idle


@in_virtual_time
async def test_calls_wait_for_a_replica_that_was_never_reached():
    async with PoolHarness(InjectedFault(UNREACHABLE, times=0), wait_for_replicas=True) as harness:
        harness.feeds[0].disconnect()
        await asyncio.sleep(60)
        task = harness.start()
        await asyncio.sleep(60)
        assert harness.counts == [0]
        harness.feeds[0].send(slots=1)
        await task

        assert harness.counts == [1]


@in_virtual_time
async def test_a_pool_that_scales_to_zero_and_back_loses_no_call():
    async with PoolHarness(None, wait_for_replicas=True, return_timeout=1) as harness:
        running = harness.start()
        await asyncio.sleep(SECONDS / 2)
        await harness.set_members()
        waiting = [harness.start(seed=number) for number in range(4)]
        await running
        await asyncio.sleep(60)
        assert harness.counts == [1]
        await harness.set_members(1)
        await asyncio.gather(*waiting)

        assert harness.counts == [1, 4]
        assert harness.idle


@in_virtual_time
async def test_a_job_whose_only_replica_dies_is_repeated_when_another_comes():
    async with PoolHarness(InjectedFault(LOST, after=4, times=1), wait_for_replicas=True, return_timeout=1) as harness:
        task = harness.start()
        await asyncio.sleep(0.35)
        harness.feeds[0].disconnect()
        await asyncio.sleep(60)
        await harness.set_members(1)
        await task

        assert harness.counts == [1, 1]


@in_virtual_time
async def test_a_call_that_waits_for_a_replica_ends_at_its_deadline():
    async with PoolHarness(wait_for_replicas=True) as harness:
        with pytest.raises(DeadlineError):
            await harness.start(deadline=Deadline.after(40))

        assert now() == pytest.approx(40)
        assert harness.idle


@in_virtual_time
async def test_a_full_queue_without_a_replica_is_unavailable_and_one_with_a_busy_replica_is_overloaded():
    async with PoolHarness(wait_for_replicas=True, queue_seconds=2) as harness:
        waiting = [harness.start(tenant=f"t{number}") for number in range(2)]
        await settle()
        with pytest.raises(OverloadedError, match="there is no a worker") as unavailable:
            await harness.start(tenant="z")
        check_unavailable(unavailable.value)

        await harness.set_members(0)
        await settle()
        # One call runs now, and another one fits into the queue.
        waiting.append(harness.start(tenant="y"))
        await settle()
        with pytest.raises(OverloadedError, match="s of work wait") as overloaded:
            await harness.start(tenant="z")
        assert overloaded.value.reason is Reason.QUEUE_FULL
        await asyncio.gather(*waiting)


@in_virtual_time
async def test_a_call_without_waiting_is_unavailable_with_a_delay():
    async with PoolHarness(return_timeout=3) as harness:
        with pytest.raises(OverloadedError, match="there is no a worker; try again in 3.0 s") as caught:
            await harness.start()

        assert now() == pytest.approx(3, abs=0.1)
        check_unavailable(caught.value)


@in_virtual_time
async def test_a_call_to_replicas_that_cannot_be_reached_is_unavailable_with_their_error_and_a_delay():
    async with PoolHarness(InjectedFault(UNREACHABLE)) as harness:
        harness.feeds[0].disconnect()
        await asyncio.sleep(60)
        with pytest.raises(OverloadedError, match="not there") as caught:
            await harness.start()

        check_unavailable(caught.value)


@in_virtual_time
async def test_a_replica_that_is_ejected_gets_calls_and_none_wait():
    async with PoolHarness(InjectedFault(LOST, times=2), eject_after=1, wait_for_replicas=True) as harness:
        with pytest.raises(type(LOST)):
            await harness.start()
        began = now()
        await harness.start()

        assert now() - began == pytest.approx(SECONDS, abs=0.2)
