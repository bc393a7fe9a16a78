"""Tests of a pool whose only member stands for several replicas, such as an application of Ray Serve."""

from __future__ import annotations

import pytest

from motet.core.errors import OverloadedError, RetryableError
from motet.toys.workers import InjectedFault
from tests.orchestrator.pool_harness import LOST, STEPS, UNREACHABLE, PoolHarness, settle
from tests.waiting import in_virtual_time


class Balanced(PoolHarness):
    """A pool of balanced members."""

    balanced = True


@in_virtual_time
async def test_a_call_that_a_lost_replica_had_begun_is_sent_to_the_same_member_again() -> None:
    async with Balanced(InjectedFault(LOST, after=4, times=1)) as harness:
        await harness.start()

        assert harness.counts == [2]


@in_virtual_time
async def test_without_the_field_such_a_call_fails_because_the_member_itself_was_lost() -> None:
    async with PoolHarness(InjectedFault(LOST, after=4, times=1)) as harness:
        with pytest.raises(RetryableError):
            await harness.start()


@in_virtual_time
async def test_a_call_may_meet_three_replicas_that_cannot_be_reached() -> None:
    async with Balanced(InjectedFault(UNREACHABLE, times=3)) as harness:
        await harness.start()

        assert harness.counts == [4]


@in_virtual_time
async def test_a_call_that_loses_two_replicas_is_not_sent_to_a_third() -> None:
    async with Balanced(InjectedFault(LOST, after=4)) as harness:
        with pytest.raises(RetryableError):
            await harness.start()

        assert harness.counts == [2]


@in_virtual_time
async def test_a_full_queue_gets_the_call_again_only_after_its_delay() -> None:
    full = OverloadedError("full", retry_after=2.0)
    async with Balanced(InjectedFault(full, times=1)) as harness:
        _, ended = await harness.start()

        assert harness.counts == [2]
        assert ended == pytest.approx(2.0 + STEPS * harness.delay)


@in_virtual_time
async def test_failures_of_single_replicas_do_not_eject_the_member() -> None:
    async with Balanced(InjectedFault(UNREACHABLE, times=3), slots=3, eject_after=1) as harness:
        await harness.start()
        harness.feeds[0].send(slots=3)
        await settle()

        assert [replica.state for replica in harness.pool._replicas.members] == ["ready"]
