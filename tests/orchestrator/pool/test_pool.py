"""Tests of the pool: choice of a replica, load reports, retries and ejections."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import (
    AccessError,
    DeadlineError,
    FaultError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
)
from motet.core.media import Media
from motet.core.workers import REPORT_INTERVAL, Prompt, Turn
from motet.toys.workers import InjectedFault, Pause, ToyEncoder, ToyLanguageModel, grammar_of
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledEncoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.simulation.virtual_loop import run_virtually
from tests.orchestrator.pool_harness import LOST, STEPS, UNREACHABLE, PoolHarness, settle
from tests.waiting import in_virtual_time


@in_virtual_time
async def test_a_call_goes_to_the_replica_with_the_least_work():
    async with PoolHarness(None, None, slots=2) as harness:
        long = harness.start(steps=100)
        await settle()
        short = [harness.start(steps=10)]
        await settle()
        assert harness.running == [1, 1]
        await asyncio.sleep(0.5)
        short.append(harness.start(steps=10))
        await settle()

        assert harness.running == [1, 2], "both short jobs end before the long job, whose finished steps do not count"
        await asyncio.gather(long, *short)
        assert harness.idle


@in_virtual_time
async def test_the_outstanding_work_falls_with_each_step():
    async with PoolHarness(None) as harness:
        task = harness.start(steps=100)
        await asyncio.sleep(2.05)

        assert harness.pool.outstanding == [pytest.approx(8.0)]
        await task


@in_virtual_time
async def test_a_slow_replica_gets_fewer_calls():
    async with PoolHarness(None, None) as harness:
        harness.toys[1].pause = Pause(0.4)
        tasks = [harness.start(seed=number) for number in range(40)]
        await asyncio.gather(*tasks)

        assert 28 <= harness.counts[0] <= 34, "the first replica is four times as fast and gets four fifths of the jobs"


@in_virtual_time
async def test_the_speed_of_each_replica_is_measured():
    async with PoolHarness(None, None, slots=20) as harness:
        harness.toys[1].pause = Pause(0.4)
        await asyncio.gather(*(harness.start() for _ in range(8)))
        tasks = [harness.start() for _ in range(10)]
        await settle()

        assert harness.running == [8, 2]
        assert harness.pool.outstanding == pytest.approx([8.0, 8.0])
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_the_work_of_other_orchestrators_counts():
    async with PoolHarness(None, None, slots=4) as harness:
        harness.feeds[0].send(slots=4, running=2, seconds=5.0)
        await settle()
        tasks = [harness.start() for _ in range(2)]
        await settle()

        assert harness.running == [0, 2]
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_a_waiting_call_is_assigned_when_a_replica_has_a_free_slot():
    async with PoolHarness(None, None) as harness:
        harness.toys[1].pause = Pause(0.01)
        tasks = [harness.start(seed=number) for number in range(4)]
        await settle()
        assert harness.running == [1, 1]
        assert harness.pool.waiting == pytest.approx(2 * STEPS * 0.1)
        await asyncio.sleep(0.35)

        assert harness.counts == [1, 3], "both waiting jobs went to the fast replica"
        await asyncio.gather(*tasks)
        assert harness.idle


@in_virtual_time
async def test_a_draining_replica_gets_no_calls_and_finishes_its_own():
    async with PoolHarness(None, None, slots=4) as harness:
        first = [harness.start(seed=number) for number in range(2)]
        await settle()
        harness.feeds[0].send(slots=4, running=1, draining=True)
        await settle()
        rest = [harness.start(seed=number) for number in range(3)]
        await asyncio.gather(*first, *rest)

        assert harness.counts == [1, 4]


@in_virtual_time
async def test_an_unreachable_replica_gets_no_calls_until_it_is_reachable_again():
    async with PoolHarness(None, None, slots=4) as harness:
        harness.feeds[0].disconnect()
        await settle()
        await asyncio.gather(*(harness.start() for _ in range(3)))
        assert harness.counts == [0, 3]
        harness.feeds[0].send(slots=4)
        await asyncio.sleep(3)
        await harness.start()

        assert harness.counts == [1, 3]


@in_virtual_time
async def test_a_replica_without_load_reports_is_unreachable():
    async with PoolHarness(None, None, slots=4) as harness:
        await asyncio.sleep(20 * REPORT_INTERVAL)
        await asyncio.gather(harness.start(), harness.start())
        assert harness.counts == [1, 1], "both replicas repeat their loads"
        harness.feeds[0].frozen = True
        await asyncio.sleep(5 * REPORT_INTERVAL)
        await asyncio.gather(*(harness.start() for _ in range(3)))
        assert harness.counts == [1, 4]
        harness.feeds[0].frozen = False
        harness.feeds[0].send(slots=4)
        await asyncio.sleep(3)
        await harness.start()

        assert harness.counts == [2, 4]


@in_virtual_time
async def test_a_replica_of_another_bundle_gets_no_calls_until_it_serves_the_bundle_of_its_pool():
    async with PoolHarness(None, None, slots=4) as harness:
        harness.feeds[0].send(slots=4, bundle_digest="sha256:other")
        harness.feeds[1].send(slots=4, bundle_digest=harness.bundle_digest)
        await settle()
        await asyncio.gather(*(harness.start() for _ in range(3)))
        assert harness.counts == [0, 3]
        harness.feeds[0].send(slots=4, bundle_digest=harness.bundle_digest)
        await settle()
        await asyncio.gather(*(harness.start() for _ in range(2)))

        assert harness.counts == [1, 4]


@in_virtual_time
@pytest.mark.parametrize("waits", [False, True], ids=["fail", "wait"])
async def test_without_a_replica_of_the_bundle_calls(waits):
    async with PoolHarness(None, slots=4, wait_for_replicas=waits) as harness:
        harness.feeds[0].send(slots=4, bundle_digest="sha256:other")
        await settle()
        assert not harness.pool.available
        call = harness.start(deadline=Deadline.after(60))
        await asyncio.sleep(30)
        assert harness.counts == [0]
        if not waits:
            with pytest.raises(OverloadedError, match="there is no a worker of this bundle; try again in") as caught:
                await call
            assert caught.value.reason is Reason.WORKER_UNAVAILABLE
            return
        harness.feeds[0].send(slots=4, bundle_digest=harness.bundle_digest)
        await call

        assert harness.counts == [1]


@in_virtual_time
async def test_an_unreachable_replica_is_preferred_to_a_draining_one():
    async with PoolHarness(None, None, slots=4) as harness:
        harness.feeds[0].send(slots=4, draining=True)
        harness.feeds[1].disconnect()
        await settle()
        await harness.start()

        assert harness.counts == [0, 1]


@in_virtual_time
async def test_if_all_replicas_are_unreachable_the_call_raises_the_error():
    async with PoolHarness(InjectedFault(UNREACHABLE)) as harness:
        harness.feeds[0].disconnect()
        await settle()
        with pytest.raises(RetryableError, match="not there"):
            await harness.start()

        assert harness.idle


@in_virtual_time
async def test_a_job_that_fails_midway_is_repeated_on_another_replica_with_the_same_bytes():
    async with PoolHarness(InjectedFault(LOST, after=4), None) as harness:
        retried, _ = await harness.start(seed=3)
        async with PoolHarness(None) as other:
            expected, _ = await other.start(seed=3)

        assert retried == expected
        assert harness.counts == [1, 1]
        assert harness.idle


@in_virtual_time
async def test_a_failed_call_is_retried_once():
    for replicas in (3, 1):
        async with PoolHarness(*[InjectedFault(LOST)] * replicas) as harness:
            with pytest.raises(RetryableError, match="gone"):
                await harness.start()
            assert sum(harness.counts) == 2
            assert harness.idle


@in_virtual_time
async def test_a_worker_that_refuses_this_process_is_replaced_and_its_caller_is_not_blamed():
    for reason in (Reason.CREDENTIALS_INVALID, Reason.CREDENTIALS_MISSING, Reason.ROLE_MISSING):
        fault = InjectedFault(AccessError("refused", reason))
        async with PoolHarness(fault, None) as harness:
            await harness.start()
            assert harness.counts == [1, 1]
        async with PoolHarness(fault) as harness:
            with pytest.raises(RetryableError) as caught:
                await harness.start()
            assert caught.value.reason is Reason.WORKER_UNAVAILABLE


@in_virtual_time
async def test_the_only_replica_gets_a_call_again_unless_an_item_was_yielded():
    for after, attempts in ((0, 2), (1, 1)):
        async with PoolHarness(InjectedFault(LOST, after=after, times=1)) as harness:
            with suppress(RetryableError):
                await harness.start()
            assert harness.counts == [attempts]
            assert harness.idle


@in_virtual_time
async def test_an_overloaded_only_replica_gets_a_media_job_again_after_the_time_that_it_names():
    busy = OverloadedError("busy", retry_after=3.0)
    async with PoolHarness(InjectedFault(busy, times=1)) as harness:
        _, at = await harness.start()
        assert at == pytest.approx(4.0), "three seconds of waiting and one of work"
    async with PoolHarness(InjectedFault(busy, times=1)) as harness:
        began = now()
        with pytest.raises(OverloadedError):
            await harness.start(deadline=Deadline.after(2.0))
        assert now() == began, "a wait beyond the deadline is pointless"
        assert harness.idle


@in_virtual_time
async def test_an_overloaded_only_language_model_refuses_at_once():
    model = ToyLanguageModel(grammar_of("a"), [OverloadedError("busy", retry_after=3.0)])
    pooled = PooledLanguageModel(Pool("language model", [Member(model)], OrchestratorSettings()))

    with pytest.raises(OverloadedError):
        async for _ in pooled.generate(Prompt((Turn("user", ("hi",)),)), Deadline.never()):
            pass

    assert now() == 0.0
    assert len(model.seen) == 1


@pytest.mark.parametrize("error", [FaultError("broken"), RequestError("no"), DeadlineError("late")])
def test_an_error_that_is_not_retryable_is_not_retried(error):
    async def program():
        async with PoolHarness(InjectedFault(error), None) as harness:
            with pytest.raises(type(error)):
                await harness.start()
            assert harness.counts == [1, 0]

    run_virtually(program())


@in_virtual_time
async def test_an_encoder_call_is_retried_on_another_replica():
    class Unreachable:
        async def encode(self, media, deadline, **options):
            raise UNREACHABLE

    pool = Pool("encoder", [Member(Unreachable()), Member(ToyEncoder())], OrchestratorSettings())

    assert len(await PooledEncoder(pool).encode([Media("x/a", b"1")], Deadline.never())) == 1


@in_virtual_time
async def test_a_replica_with_consecutive_failures_is_ejected_then_probed_and_readmitted():
    async with PoolHarness(InjectedFault(LOST, times=3), None, slots=8, eject_for=10) as harness:
        await asyncio.gather(*(harness.start(seed=number) for number in range(6)))
        assert harness.counts[0] == 3
        await asyncio.gather(*(harness.start() for _ in range(5)))
        assert harness.counts[0] == 3, "the replica is ejected"
        await asyncio.sleep(12)
        probing = [harness.start() for _ in range(4)]
        await settle()
        assert harness.running == [1, 3]
        await asyncio.gather(*probing)
        after = [harness.start() for _ in range(4)]
        await settle()

        assert harness.running == [2, 2], "the replica is readmitted"
        await asyncio.gather(*after)


@in_virtual_time
async def test_a_refusal_is_no_failure():
    refusals = [OverloadedError("busy"), RetryableError("stopping", Reason.DRAINING)]
    for error in refusals:
        async with PoolHarness(InjectedFault(error, times=5), None, slots=8) as harness:
            for _ in range(6):
                await harness.start()
            assert harness.counts[0] == 6, "the idle replica is tried first every time"


@in_virtual_time
async def test_a_waiting_call_becomes_the_probe_as_soon_as_one_is_allowed():
    async with PoolHarness(InjectedFault(LOST, times=1), None, eject_after=1, eject_for=1) as harness:
        long = harness.start(steps=100)
        await settle()
        assert harness.counts == [1, 1]
        _, at = await harness.start()

        assert 1.8 <= at <= 2.2, "one second of ejection and one of work"
        await long
        assert harness.idle
