"""Tests of the pool's queue: limits, order, cancellation and reservations."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError, Reason, RetryableError
from motet.core.workers import Progress
from motet.toys.workers import InjectedFault
from services.benchmarks.simulation.virtual_loop import run_virtually
from tests.orchestrator.pool_harness import LOST, UNREACHABLE, PoolHarness, decode_to_end, job_of, settle
from tests.waiting import in_virtual_time


@in_virtual_time
async def test_a_call_beyond_the_queue_limit_is_refused_at_once_with_a_time_for_the_retry():
    async with PoolHarness(None, queue_seconds=10) as harness:
        tasks = [harness.start(tenant=f"t{number}") for number in range(11)]
        await settle()
        began = now()
        with pytest.raises(OverloadedError) as caught:
            await harness.start(tenant="one more")

        assert now() == began
        assert caught.value.reason is Reason.QUEUE_FULL
        assert caught.value.retry_after == pytest.approx(1.0), "the excess is one second of work, for one slot"
        await asyncio.sleep(caught.value.retry_after + 0.01)
        tasks.append(harness.start(tenant="one more"))
        await asyncio.gather(*tasks)
        assert harness.idle


@in_virtual_time
async def test_the_queue_limit_is_per_slot():
    async with PoolHarness(None, None, slots=3, queue_seconds=1) as harness:
        tasks = [harness.start(tenant=f"t{number}") for number in range(20)]
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert sum(isinstance(result, OverloadedError) for result in results) == 20 - 6 - 6


@in_virtual_time
async def test_one_tenant_alone_may_fill_four_fifths_of_the_queue():
    async with PoolHarness(None, queue_seconds=10) as harness:
        greedy = [harness.start(tenant="greedy") for _ in range(20)]
        await settle()
        assert harness.pool.waiting == pytest.approx(8.0)
        modest = harness.start(tenant="modest")
        _, at = await modest

        assert at == pytest.approx(2.0), "the job runs after the running job"
        await asyncio.gather(*greedy, return_exceptions=True)


@in_virtual_time
async def test_an_empty_queue_accepts_a_call_beyond_its_limit():
    async with PoolHarness(None, queue_seconds=1) as harness:
        await asyncio.gather(harness.start(), harness.start(steps=1000))


@in_virtual_time
async def test_tenants_share_equally_whatever_their_number_of_jobs():
    async with PoolHarness(None, queue_seconds=1000) as harness:
        greedy = [harness.start(tenant="greedy") for _ in range(20)]
        await asyncio.sleep(2.5)
        modest = [harness.start(tenant="modest") for _ in range(5)]
        ends = [at for _, at in await asyncio.gather(*modest)]

        assert ends == pytest.approx([4, 6, 8, 10, 12], abs=0.01), "every other job is theirs"
        await asyncio.gather(*greedy)


@in_virtual_time
async def test_high_priorities_run_first_and_low_priorities_do_not_starve():
    async with PoolHarness(None, queue_seconds=1000, ageing=5.0) as harness:
        patient = [harness.start(seed=number, priority=-2) for number in range(2)]
        usual = [harness.start(seed=number) for number in range(30)]
        await asyncio.sleep(0.5)
        urgent = harness.start(priority=2)

        assert (await urgent)[1] == pytest.approx(2.0)
        assert 10 < (await patient[1])[1] < 25
        await asyncio.gather(*patient, *usual)


@in_virtual_time
async def test_a_cancelled_call_and_a_late_call_leave_the_queue_at_once():
    async with PoolHarness(None) as harness:
        working = harness.start()
        await settle()
        cancelled, late = harness.start(), harness.start(deadline=Deadline.after(0.3))
        await settle()
        assert harness.pool.waiting == pytest.approx(2.0)
        cancelled.cancel()
        await settle()
        assert harness.pool.waiting == pytest.approx(1.0)
        with pytest.raises(DeadlineError, match="the a workers were busy"):
            await late

        assert now() == pytest.approx(0.3)
        assert harness.pool.waiting == 0.0
        await working
        assert harness.counts == [1]
        assert harness.idle


@in_virtual_time
async def test_a_call_that_is_cancelled_at_its_assignment_releases_the_slot():
    async with PoolHarness(None) as harness:
        first = harness.decoder.decode(job_of(1), Deadline.never())
        await anext(first)
        second, third = harness.start(), harness.start()
        await settle()
        await first.aclose()
        second.cancel()

        assert (await third)[1] == pytest.approx(1.1)
        assert second.cancelled()
        assert harness.idle


@in_virtual_time
async def test_closing_a_stream_releases_its_slot():
    async with PoolHarness(None) as harness:
        async with aclosing(harness.decoder.decode(job_of(1), Deadline.never())) as events:
            assert isinstance(await anext(events), Progress)
            waiting = harness.start()
        assert (await waiting)[1] == pytest.approx(1.1)
        assert harness.idle


@in_virtual_time
async def test_a_reservation_counts_as_work_until_its_release():
    async with PoolHarness(None, None, slots=4) as harness:
        reservation = harness.decoder.reserve(steps=None, tenant="", priority=0)
        tasks = [harness.start()]
        await settle()
        assert harness.running == [0, 1], "the first replica has a reservation"
        reservation.release()
        reservation.release()
        assert harness.pool.waiting == 0.0
        tasks.append(harness.start())
        await settle()

        assert harness.running == [1, 1]
        await asyncio.gather(*tasks)
        assert harness.idle


@in_virtual_time
async def test_a_reservation_blocks_no_slot_but_is_served_before_later_calls():
    async with PoolHarness(None) as harness:
        working = harness.start()
        await settle()
        reservation = harness.decoder.reserve(steps=None, tenant="", priority=0)
        rivals = [harness.start(seed=number) for number in range(2)]
        await asyncio.sleep(1.5)
        assert harness.counts == [2], "the first rival did not wait for the reservation"
        reserved = asyncio.create_task(decode_to_end(reservation, job_of(9), Deadline.never()))
        await settle()
        assert harness.pool.waiting == pytest.approx(2.0), "the job and the second rival"
        reservation.release()
        _, at = await reserved

        assert at == pytest.approx(3.0)
        assert [end for _, end in await asyncio.gather(working, *rivals)] == pytest.approx([1, 2, 4], abs=0.01)
        assert harness.idle


@in_virtual_time
async def test_a_reservation_times_out():
    async with PoolHarness(None, reservation_timeout=5.0) as harness:
        reservation = harness.decoder.reserve(steps=None, tenant="", priority=0)
        assert harness.pool.waiting > 0
        await asyncio.sleep(5.1)

        assert harness.idle
        await decode_to_end(reservation, job_of(9), Deadline.never())
        assert harness.idle


@in_virtual_time
async def test_a_full_queue_makes_no_reservation():
    async with PoolHarness(None, queue_seconds=1) as harness:
        tasks = [harness.start(tenant=name) for name in "xy"]
        await settle()
        before = harness.pool.waiting
        harness.decoder.reserve(steps=None, tenant="z", priority=0)

        assert harness.pool.waiting == before
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_the_metrics_of_a_pool():
    def value(name, **labels):
        return REGISTRY.get_sample_value(f"motet_pool_{name}", {"pool": "a", **labels})

    refused, ejected = value("refused_total") or 0, value("ejections_total", replica="0") or 0
    async with PoolHarness(InjectedFault(LOST, times=1), None, eject_after=1, queue_seconds=0.5) as harness:
        tasks = [harness.start(tenant=f"t{number}") for number in range(3)]
        await settle()

        # The first replica is ejected, and would look idle with 0 seconds.
        assert value("outstanding_seconds", replica="0") is None
        assert value("outstanding_seconds", replica="1") == pytest.approx(1.0)
        assert value("queue_seconds") == pytest.approx(1.0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert value("refused_total") == refused + 1
        assert value("ejections_total", replica="0") == ejected + 1
    assert value("queue_seconds") is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),
            st.sampled_from("xyz"),
            st.integers(-2, 2),
            st.sampled_from([None, 0.5, 2.0]),
            st.sampled_from(["decode", "cancel", "reserve", "release"]),
        ),
        max_size=20,
    ),
    st.lists(
        st.sampled_from([None, InjectedFault(LOST, after=2, times=4), InjectedFault(UNREACHABLE, times=3)]),
        min_size=1,
        max_size=3,
    ),
)
def test_no_work_is_left_after_any_sequence_of_calls(arrivals, faults):
    async def run_one(harness, at, tenant, priority, timeout, action):
        await asyncio.sleep(at)
        job = job_of(1, tenant=tenant, priority=priority)
        deadline = Deadline.never() if timeout is None else Deadline.after(timeout)
        reservation = (
            harness.decoder.reserve(steps=None, tenant=tenant, priority=priority)
            if action != "decode"
            else harness.decoder
        )
        if action == "release":
            reservation.release()
            return
        task = asyncio.create_task(decode_to_end(reservation, job, deadline))
        if action == "cancel":
            await asyncio.sleep(0.7)
            task.cancel()
        with suppress(RetryableError, DeadlineError, asyncio.CancelledError):
            await task

    async def program():
        async with PoolHarness(*faults, queue_seconds=5) as harness:
            await asyncio.gather(*(run_one(harness, *arrival) for arrival in arrivals))
            assert harness.idle
            assert not any(toy.running for toy in harness.toys)
            assert not any(replica.reserved for replica in harness.pool._replicas)

    run_virtually(program())


@in_virtual_time
async def test_a_call_that_is_cancelled_at_the_moment_of_a_free_slot_leaves_it_to_the_next_call() -> None:
    async with PoolHarness(None) as harness:
        running, cancelled, waiting = [harness.start(seed) for seed in range(3)]
        await settle()
        harness.feeds[0].send(slots=2)
        cancelled.cancel()  # The event loop processes both in its next iteration, the load first.

        await asyncio.gather(running, waiting)
        assert cancelled.cancelled()
        assert harness.counts == [2]
        assert harness.idle
