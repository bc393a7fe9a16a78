"""Tests of pools whose members join and leave while calls run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from prometheus_client import REGISTRY

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import OverloadedError, Reason, RetryableError
from motet.toys.workers import InjectedFault, Pause
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.settings import OrchestratorSettings
from tests.orchestrator.pool_harness import LOST, STEPS, FreezableDecoder, LoadFeed, PoolHarness, job_of, settle
from tests.waiting import in_virtual_time

SECONDS = STEPS * 0.1
"""Duration of a job in seconds."""


def outstanding_of(replica: int) -> float | None:
    """Return the metric of a replica, or None if there is none."""
    return REGISTRY.get_sample_value("motet_pool_outstanding_seconds", {"pool": "a", "replica": str(replica)})


@in_virtual_time
async def test_a_replica_that_joins_gets_waiting_calls_at_once():
    async with PoolHarness(None) as harness:
        tasks = [harness.start(seed=number) for number in range(3)]
        await settle()
        assert harness.counts == [1]
        await harness.set_members(0, 1)
        await settle()

        assert harness.running == [1, 1]
        await asyncio.gather(*tasks)
        assert harness.idle


@in_virtual_time
async def test_replicas_that_join_get_their_share_of_later_calls():
    async with PoolHarness(None, slots=4, queue_seconds=1000) as harness:
        tasks = [harness.start(seed=number) for number in range(240)]
        await settle()
        await harness.set_members(0, 1, 2)
        await asyncio.gather(*tasks)

        assert all(abs(count - 80) <= 8 for count in harness.counts), harness.counts


@in_virtual_time
async def test_a_replica_that_leaves_finishes_its_calls_and_gets_no_others():
    async with PoolHarness(None, None, slots=4) as harness:
        first = [harness.start(seed=number) for number in range(4)]
        await settle()
        assert harness.running == [2, 2]
        await harness.set_members(1)
        rest = [harness.start(seed=number) for number in range(6)]
        await settle()
        assert harness.running == [2, 4]
        assert harness.closed == []
        await asyncio.gather(*first)
        await settle()

        assert harness.closed == [0], "it is closed as soon as its last call has ended"
        await asyncio.gather(*rest)
        assert harness.counts == [2, 8]
        assert harness.idle


@in_virtual_time
async def test_an_idle_replica_that_leaves_is_closed_and_its_metrics_end():
    async with PoolHarness(InjectedFault(LOST, times=1), None, eject_after=1) as harness:
        await harness.start()
        labels = {"pool": "a", "replica": "0"}
        assert REGISTRY.get_sample_value("motet_pool_ejections_total", labels) == 1
        await asyncio.sleep(2)
        # A success ends the ejection.
        await asyncio.gather(harness.start(), harness.start())
        assert outstanding_of(0) == 0
        await harness.set_members(1)
        await settle()

        assert harness.closed == [0]
        assert outstanding_of(0) is None
        assert REGISTRY.get_sample_value("motet_pool_ejections_total", labels) is None
        assert outstanding_of(1) == 0
    assert harness.closed == [0, 1]
    assert outstanding_of(1) is None


@in_virtual_time
async def test_the_load_of_a_replica_that_left_is_not_watched():
    async with PoolHarness(None, None) as harness:
        await harness.set_members(1)
        await settle()
        harness.feeds[0].send(slots=7)
        await asyncio.sleep(5)

        assert harness.feeds[0].loads_to_send.qsize() == 1


@in_virtual_time
async def test_a_replica_that_joins_again_while_it_runs_calls_keeps_its_state():
    async with PoolHarness(None, None, slots=4) as harness:
        task = harness.start()
        await settle()
        await harness.set_members(1)
        await harness.set_members(0, 1)
        await task
        await asyncio.gather(*(harness.start() for _ in range(8)))

        assert harness.closed == []
        assert harness.counts[0] == 5


@in_virtual_time
async def test_a_replica_that_joins_again_after_it_was_closed_is_new():
    async with PoolHarness(InjectedFault(LOST, times=1), None, eject_after=1, eject_for=60) as harness:
        await harness.start()
        await harness.set_members(1)
        await settle()
        assert harness.closed == [0]
        await harness.set_members(0, 1)
        await settle()
        tasks = [harness.start() for _ in range(2)]
        await settle()

        assert harness.running == [1, 1], "the replica is not ejected anymore"
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_a_call_of_a_replica_that_left_and_then_fails_runs_elsewhere():
    async with PoolHarness(InjectedFault(LOST, after=4), None, slots=4) as harness:
        task = harness.start()
        await settle()
        await harness.set_members(1)
        await task

        assert harness.counts == [1, 1]
        assert harness.closed == [0]


@in_virtual_time
async def test_a_call_of_a_replica_that_left_and_then_freezes_runs_elsewhere():
    async with PoolHarness(None, None, slots=4) as harness:
        task = harness.start()
        await settle()
        await harness.set_members(1)
        harness.freeze(0)
        _, at = await task
        harness.freeze(0, False)
        await asyncio.sleep(1)

        assert at < 30, "a replica that left is watched until its last call has ended"
        assert harness.counts == [1, 1]
        assert harness.closed == [0]


@in_virtual_time
async def test_a_silent_call_is_hedged_at_a_replica_that_joined_later():
    async with PoolHarness(None, None, slots=4) as harness:
        await asyncio.gather(*(harness.start() for _ in range(4)))  # The silence of calls is known then.
        await harness.set_members(0)
        await asyncio.sleep(1)
        frozen = harness.start()
        await asyncio.sleep(0.2)
        harness.toys[0].frozen = True
        await harness.set_members(0, 2)
        _, at = await frozen
        harness.toys[0].frozen = False

        assert harness.counts[2] == 1
        assert at < 10


@in_virtual_time
async def test_a_silent_call_of_a_replica_that_left_is_hedged():
    async with PoolHarness(None, None, slots=4) as harness:
        await asyncio.gather(*(harness.start() for _ in range(4)))
        frozen = harness.start()
        await asyncio.sleep(0.2)
        harness.toys[0].frozen = True
        await harness.set_members(1)
        _, at = await frozen
        harness.toys[0].frozen = False
        await settle()

        assert at < 10
        assert harness.closed == [0]


@in_virtual_time
async def test_calls_wait_for_a_member_while_there_is_none():
    async with PoolHarness(None) as harness:
        await harness.set_members()
        task = harness.start()
        await asyncio.sleep(5)
        assert harness.counts == [0]
        await harness.set_members(1)
        await task

        assert harness.counts == [0, 1]
        assert harness.idle


@in_virtual_time
async def test_a_call_fails_if_no_member_joins_in_time_and_later_ones_fail_at_once():
    async with PoolHarness(None, return_timeout=15) as harness:
        await harness.set_members()
        waiting = harness.start()
        with pytest.raises(RetryableError, match="there is no a worker") as caught:
            await waiting
        assert caught.value.reason is Reason.WORKER_UNAVAILABLE
        assert now() == pytest.approx(15, abs=0.1)
        with pytest.raises(RetryableError, match="there is no a worker"):
            await harness.start()

        assert now() == pytest.approx(15, abs=0.1)
        assert harness.idle
        await harness.set_members(1)
        await harness.start()


@in_virtual_time
async def test_calls_wait_for_a_replica_that_joined_until_its_first_load_arrives():
    async with PoolHarness(None) as harness:
        harness.feeds[0].disconnect()
        await asyncio.sleep(60)
        harness.slots = None
        await harness.set_members(0, 1)
        task = harness.start()
        await asyncio.sleep(3)
        harness.feeds[1].send(slots=1)
        await task

        assert harness.counts == [0, 1], "the call was not sent to the unreachable member"


@in_virtual_time
async def test_a_reservation_survives_the_replica_that_it_counts_for():
    async with PoolHarness(None, None) as harness:
        reservation = harness.decoder.reserve(steps=STEPS, tenant="", priority=0)
        assert harness.pool.outstanding == pytest.approx([SECONDS, 0])
        await harness.set_members(1)
        assert harness.pool.outstanding == pytest.approx([SECONDS]), "the work counts for the other replica"
        await harness.set_members()
        await harness.set_members(2)
        async with aclosing(reservation.decode(job_of(), Deadline.never())) as events:
            async for _ in events:
                pass

        assert harness.counts == [0, 0, 1]
        assert harness.idle


@in_virtual_time
async def test_an_overloaded_replica_that_left_does_not_get_the_call_again():
    busy = OverloadedError("busy", retry_after=3.0)
    async with PoolHarness(InjectedFault(busy, times=1)) as harness:
        task = harness.start()
        await asyncio.sleep(1)
        await harness.set_members()
        await asyncio.sleep(3)
        assert harness.closed == [0]
        await harness.set_members(1)
        await task

        assert harness.counts == [1, 1]


@in_virtual_time
async def test_a_refusal_by_a_replica_that_left_is_not_the_answer():
    busy = OverloadedError("busy", retry_after=60)
    async with PoolHarness(InjectedFault(busy, after=4)) as harness:
        task = harness.start(deadline=Deadline.after(10))
        await settle()
        await harness.set_members()
        await asyncio.sleep(1)
        await harness.set_members(1)
        await task

        assert harness.counts == [1, 1]


@in_virtual_time
async def test_members_are_closed_one_after_another():
    running, most = 0, 0

    async def close():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1

    def connect(address):
        return Member(FreezableDecoder(), LoadFeed().loads, address, close)

    async with Pool("a", [], OrchestratorSettings()) as pool:
        await pool.set_members(map(str, range(20)), connect)
        await pool.set_members([], connect)
        await asyncio.sleep(3)

        assert (running, most) == (0, 1), "closing many channels of gRPC at once holds the event loop"


@in_virtual_time
async def test_members_that_join_and_leave_all_the_time_lose_no_call():
    async with PoolHarness(None, None, slots=2) as harness:
        tasks = []
        for number in range(60):
            tasks += [harness.start(seed=number) for _ in range(3)]
            await asyncio.sleep(0.3)
            await harness.set_members(number // 3, number // 3 + 1)
            if number % 7 == 0:
                harness.toys[-1].pause = Pause(0.02)
        await asyncio.gather(*tasks)
        await settle()

        assert sum(harness.counts) == 180, "no call was sent twice"
        assert harness.idle
        assert sorted(harness.closed) == [*range(len(harness.toys) - 2)]
