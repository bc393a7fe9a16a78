"""Tests of hedges: a call whose worker is silent runs at another replica, too, and the attempt that leads wins."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest
from prometheus_client import REGISTRY

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.logs.request_id import current_request_id, request_id_set
from motet.core.workers import Progress
from motet.toys.workers import InjectedFault, Pause
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder
from orchestrator.settings import OrchestratorSettings
from tests.orchestrator.pool_harness import LOST, STEPS, FreezableDecoder, PoolHarness, decode_to_end, job_of, settle
from tests.waiting import in_virtual_time


def hedges(outcome):
    return REGISTRY.get_sample_value("motet_pool_hedges_total", {"pool": "a", "outcome": outcome}) or 0


async def warmed(harness):
    """Return the seconds of an undisturbed job, after enough jobs for all predictions."""
    for _ in range(4):
        began = now()
        await asyncio.gather(*(harness.start(seed=number) for number in range(len(harness.toys))))
        seconds = now() - began
    return seconds


@pytest.mark.parametrize("moment", [0.0, 0.55])
@in_virtual_time
async def test_a_job_at_a_frozen_replica_ends_at_another_one_within_three_times_its_usual_time(moment):
    async with PoolHarness(None, None, slots=8) as harness:
        usual = await warmed(harness)
        began, won = now(), hedges("won")
        jobs = [harness.start(seed=number) for number in range(6)]
        await asyncio.sleep(moment)
        harness.freeze(0)
        results = await asyncio.gather(*jobs)
        assert max(at for _, at in results) - began <= 3 * usual
        assert hedges("won") == won + 3, "half of the jobs were at the frozen replica"
        assert not harness.toys[0].running, "the frozen attempts are cancelled"

        async with PoolHarness(None) as other:
            expected = [(await other.start(seed=number))[0] for number in range(6)]
        assert [media for media, _ in results] == expected
        assert harness.idle


@in_virtual_time
async def test_a_hedge_has_a_line_with_its_replicas_and_the_id_of_its_request():
    lines: list[tuple[str, logging.LogRecord]] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append((current_request_id(), record))  # type: ignore[method-assign]
    logger = logging.getLogger("orchestrator.pool.hedges")
    logger.addHandler(handler)
    try:
        async with PoolHarness(None, None, slots=8) as harness:
            await warmed(harness)
            harness.freeze(0)
            with request_id_set("of-the-request"):
                jobs = [harness.start(seed=number) for number in range(2)]
            await asyncio.gather(*jobs)
    finally:
        logger.removeHandler(handler)

    ((request_id, line),) = lines
    assert request_id == "of-the-request"
    assert line.getMessage() == "a silent replica's call is hedged"
    assert (line.replica, line.hedge) == ("a at 0", "a at 1")
    assert line.seconds > 0


@in_virtual_time
async def test_a_replica_with_a_silent_call_gets_no_more_calls_until_it_shows_life():
    async with PoolHarness(None, None, slots=8) as harness:
        usual = await warmed(harness)
        harness.freeze(0)
        await asyncio.gather(*(harness.start(seed=number) for number in range(4)))
        before = harness.counts[0]
        for _ in range(5):
            await harness.start()
        assert harness.counts[0] == before
        began = now()
        await harness.start()
        assert now() - began == pytest.approx(usual)
        harness.freeze(0, False)
        await asyncio.sleep(6)
        await asyncio.gather(harness.start(), harness.start())

        assert harness.counts[0] > before, "the report of its load is a sign of life"


@in_virtual_time
async def test_a_silent_attempt_that_continues_first_wins_and_the_hedge_is_cancelled():
    async with PoolHarness(None, None, slots=8) as harness:
        await warmed(harness)
        lost = hedges("lost")
        harness.toys[1].pause = Pause(1000)
        stream = harness.decoder.decode(job_of(1), Deadline.never())
        async with aclosing(stream) as events:
            await anext(events)
            at = harness.running.index(1)
            assert at == 0
            harness.freeze(0)
            reading = asyncio.create_task(anext(events))
            await asyncio.sleep(2)
            assert harness.running == [1, 1]
            harness.freeze(0, False)
            assert (await reading).step == 2
            steps = [event.step async for event in events if isinstance(event, Progress)]

        assert steps == list(range(3, STEPS + 1)), "no step is repeated"
        assert hedges("lost") == lost + 1
        assert harness.running == [0, 0]
        assert harness.idle


@in_virtual_time
async def test_hedges_are_bounded_by_a_budget():
    async with PoolHarness(None, None, slots=100, eject_after=1000) as harness:
        await warmed(harness)
        harness.freeze(0)
        jobs = [harness.start(seed=number) for number in range(80)]
        await asyncio.sleep(10)

        assert 10 <= harness.running[0] <= 24, "of 40 jobs at the frozen replica, 16 and some more had a hedge"
        harness.freeze(0, False)
        await asyncio.gather(*jobs)
        assert harness.idle


@in_virtual_time
async def test_a_failed_attempt_continues_with_its_hedge():
    async with PoolHarness(None, None, slots=8) as harness:
        await warmed(harness)
        before, won = harness.counts, hedges("won")
        harness.toys[0].fault, harness.toys[0].pause = InjectedFault(LOST, after=1), Pause(0.5)
        media, _ = await harness.start(seed=3)

        assert harness.counts == [before[0] + 1, before[1] + 1], "there is no third attempt"
        assert hedges("won") == won + 1
        async with PoolHarness(None) as other:
            assert media == (await other.start(seed=3))[0]
        assert harness.idle


@in_virtual_time
async def test_a_cancelled_call_also_stops_its_hedge():
    async with PoolHarness(None, None, slots=8) as harness:
        await warmed(harness)
        for number in range(2):
            harness.toys[number].frozen = True
        job = harness.start()
        await asyncio.sleep(2)
        assert harness.running == [1, 1]
        job.cancel()
        await settle()

        assert job.cancelled()
        assert harness.running == [0, 0]
        assert harness.idle


@in_virtual_time
async def test_a_call_is_not_hedged_for_the_time_in_which_its_reader_does_not_read():
    async with PoolHarness(None, None, slots=8) as harness:
        await warmed(harness)
        before = harness.counts
        async with aclosing(harness.decoder.decode(job_of(1), Deadline.never())) as events:
            await anext(events)
            await asyncio.sleep(30)
            await anext(events)
        await asyncio.sleep(1)

        assert sum(harness.counts) == sum(before) + 1


@in_virtual_time
async def test_marking_a_replica_away_ends_its_calls_and_they_go_elsewhere():
    async with PoolHarness(None, None, slots=8) as harness:
        harness.freeze(0)
        _, at = await harness.start()

        assert 15 < at < 25, "before any call has ended there is no prediction, and no hedge"
        assert harness.counts == [1, 1]
        assert harness.toys[0].running == 0
        assert harness.idle


@in_virtual_time
async def test_a_slot_is_released_even_if_the_worker_does_not_stop():
    class Stubborn:
        async def decode(self, job, deadline):
            try:
                while True:
                    await asyncio.sleep(1)
                    yield Progress(1, 10)
            finally:
                await asyncio.sleep(100)

    pool = Pool("a", [Member(Stubborn())], OrchestratorSettings())
    events = PooledDecoder(pool, STEPS).decode(job_of(1), Deadline.never())
    await anext(events)
    closing = asyncio.create_task(events.aclose())
    await asyncio.sleep(1)
    closing.cancel()
    await settle()

    assert closing.cancelled()
    assert pool.outstanding == [0.0]


@in_virtual_time
async def test_a_replica_that_reports_no_load_is_used_again_after_a_silent_call():
    toys = [FreezableDecoder("a", steps=STEPS, delay=0.1) for _ in range(2)]
    pool = Pool("a", [Member(toy) for toy in toys], OrchestratorSettings(), initial_estimate=0.1)
    decoder = PooledDecoder(pool, STEPS)
    for _ in range(2):
        await asyncio.gather(*(decode_to_end(decoder, job_of(seed), Deadline.never()) for seed in range(2)))
    toys[0].frozen = True
    await asyncio.gather(*(decode_to_end(decoder, job_of(seed), Deadline.never()) for seed in range(2)))
    toys[0].frozen = False
    before = len(toys[0].seen)
    await asyncio.gather(*(decode_to_end(decoder, job_of(seed), Deadline.never()) for seed in range(2)))

    assert len(toys[0].seen) == before + 1
