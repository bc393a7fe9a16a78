"""Tests of outages: calls wait for a replica that will return, and use it as soon as it is back."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, Reason, RetryableError
from motet.toys.workers import InjectedFault, Pause, ToyDecoder
from services.benchmarks.simulation.virtual_loop import run_virtually
from tests.orchestrator.pool_harness import LOST, STEPS, UNREACHABLE, PoolHarness, decode_to_end, job_of, settle
from tests.waiting import in_virtual_time


@in_virtual_time
async def test_a_call_waits_for_a_replica_that_was_lost_shortly_before_and_starts_when_it_is_back():
    async with PoolHarness(None) as harness:
        harness.feeds[0].disconnect()
        await settle()
        job = harness.start()
        await asyncio.sleep(5)
        assert harness.counts == [0]
        harness.feeds[0].send(slots=1)
        _, at = await job

        assert at <= 5 + 0.5 + 1, "half a second to connect, and one of work"


@in_virtual_time
async def test_a_call_waits_at_most_for_the_return_timeout():
    async with PoolHarness(InjectedFault(UNREACHABLE), return_timeout=3) as harness:
        harness.feeds[0].disconnect()
        await settle()
        with pytest.raises(RetryableError, match="not there"):
            await harness.start()
        assert 3 <= now() <= 3.2
        began = now()
        with pytest.raises(RetryableError, match="not there"):
            await harness.start()
        assert now() - began < 0.2, "the replica has been away for too long"
        assert harness.idle


@in_virtual_time
async def test_a_call_that_waits_for_a_replica_ends_at_its_deadline():
    async with PoolHarness(None) as harness:
        harness.feeds[0].disconnect()
        await settle()
        with pytest.raises(DeadlineError):
            await harness.start(deadline=Deadline.after(1.0))

        assert now() == pytest.approx(1.0)
        assert harness.idle


@in_virtual_time
async def test_a_job_whose_only_replica_dies_midway_is_repeated_when_it_is_back():
    async with PoolHarness(InjectedFault(LOST, after=4, times=1)) as harness:
        job = harness.start(seed=3)
        await asyncio.sleep(0.35)
        harness.feeds[0].disconnect()
        await asyncio.sleep(3)
        harness.feeds[0].send(slots=1)
        media, _ = await job
        assert harness.counts == [2]

        async with PoolHarness(None) as other:
            assert media == (await other.start(seed=3))[0]
        assert harness.idle


@in_virtual_time
async def test_no_call_fails_while_two_replicas_restart_one_after_the_other():
    async with PoolHarness(None, None, slots=4) as harness:

        async def restart(number):
            harness.feeds[number].send(slots=4, draining=True)
            harness.toys[number].fault = InjectedFault(RetryableError("stopping", Reason.DRAINING))
            await asyncio.sleep(1)
            harness.toys[number].fault = InjectedFault(UNREACHABLE)
            harness.feeds[number].disconnect()
            await asyncio.sleep(3)
            harness.toys[number].fault = None
            harness.feeds[number].send(slots=4)

        async def caller():
            for number in range(30):
                await harness.start(seed=number)

        callers = [asyncio.create_task(caller()) for _ in range(4)]
        restarts = []
        for number in (0, 1):
            await asyncio.sleep(0.5)
            restarts.append(asyncio.create_task(restart(number)))
        await asyncio.gather(*callers, *restarts)

        assert harness.idle


@in_virtual_time
async def test_a_replica_is_used_again_after_an_outage_of_any_length():
    async with PoolHarness(None, None, slots=4) as harness:
        for outage in (18, 300):
            harness.toys[0].fault = InjectedFault(UNREACHABLE)
            for number in range(8):
                await harness.start(seed=number)
            harness.feeds[0].disconnect()
            for number in range(8):
                await harness.start(seed=number)
            await asyncio.sleep(outage)
            harness.toys[0].fault = None
            harness.feeds[0].send(slots=4)
            await asyncio.sleep(1)
            before = harness.counts
            for _ in range(4):
                await asyncio.gather(*(harness.start(seed=number) for number in range(4)))

            used = [after - count for after, count in zip(harness.counts, before, strict=True)]
            assert min(used) >= 6, f"both replicas work: {used}"


@in_virtual_time
async def test_thousands_of_failures_in_a_row_end_no_call_in_another_error():
    async with PoolHarness(InjectedFault(UNREACHABLE), eject_after=1) as harness:
        for _ in range(1100):
            with pytest.raises(RetryableError) as caught:
                await harness.start()
            assert caught.value.reason is Reason.WORKER_UNAVAILABLE


@in_virtual_time
async def test_one_slow_call_does_not_keep_a_replica_from_work():
    async with PoolHarness(None, None, slots=1) as harness:
        await asyncio.gather(harness.start(), harness.start())
        usual = harness.pool._replicas.members[0]._estimate.seconds(1)
        harness.toys[0].pause = Pause(10)
        harness.toys[1].pause = Pause(10)
        await asyncio.gather(harness.start(), harness.start())

        assert harness.pool._replicas.members[0]._estimate.seconds(1) < 3 * usual


@in_virtual_time
async def test_an_impossible_load_makes_a_replica_unreachable():
    for load in ({"slots": -1}, {"running": -1}, {"seconds": float("nan")}, {"seconds": float("inf")}):
        async with PoolHarness(None, None, slots=4) as harness:
            harness.feeds[0].send(**{"slots": 4, **load})
            await settle()
            assert not harness.pool._replicas.members[0].present
            await asyncio.gather(harness.start(), harness.start())
            assert harness.counts == [0, 2]


@in_virtual_time
async def test_a_process_that_stood_still_does_not_lose_its_replicas():
    async with PoolHarness(None, None, slots=4) as harness:
        jobs = [harness.start(seed=number) for number in range(2)]
        await asyncio.sleep(0.35)
        asyncio.get_running_loop()._now += 60
        await asyncio.sleep(0)
        await asyncio.gather(*jobs)

        assert harness.counts == [1, 1]
        assert harness.pool.available


FAILURES = st.tuples(
    st.floats(0, 8), st.integers(0, 2), st.sampled_from(["freeze", "disconnect", "fail"]), st.floats(0, 9)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 8), st.booleans()), max_size=12), st.lists(FAILURES, max_size=6))
def test_equal_jobs_have_equal_media_and_no_work_is_left_after_any_failures(arrivals, failures):
    async def run_one(harness, seed, at, cancelled):
        await asyncio.sleep(at)
        job = harness.start(seed=seed)
        if cancelled:
            await asyncio.sleep(0.7)
            job.cancel()
        with suppress(RetryableError, asyncio.CancelledError):
            assert (await job)[0] == (await decode_to_end(ToyDecoder(steps=STEPS), job_of(seed), Deadline.never()))[0]

    async def disturb(harness, at, number, failure, seconds):
        await asyncio.sleep(at)
        if failure == "freeze":
            harness.freeze(number)
            await asyncio.sleep(seconds)
            harness.freeze(number, False)
        elif failure == "fail":
            harness.toys[number].fault = InjectedFault(LOST, after=3, times=2)
        else:
            harness.feeds[number].disconnect()
            await asyncio.sleep(seconds)
            harness.feeds[number].send(slots=2)

    async def program():
        async with PoolHarness(None, None, None, slots=2) as harness:
            await asyncio.gather(*(harness.start(seed=number) for number in range(6)))
            async with asyncio.TaskGroup() as group:
                for seed, (at, cancelled) in enumerate(arrivals):
                    group.create_task(run_one(harness, seed, at, cancelled))
                for failure in failures:
                    group.create_task(disturb(harness, *failure))
            await settle()
            assert harness.idle
            assert harness.running == [0, 0, 0]

    run_virtually(program())
