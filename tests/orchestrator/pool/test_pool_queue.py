"""What waits for a pool: who is refused, who goes first, who leaves, and for whom a place is kept."""

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
from motet.core.workers import DecodeJob, Progress
from motet.toys.workers import Trouble, tensor_of
from services.benchmarks.simulation.virtual_loop import run_virtually
from tests.orchestrator.hall import AWAY, LOST, Hall, made, settled, virtually


@virtually
async def test_more_work_than_may_wait_is_refused_at_once_and_told_when_to_come_back():
    async with Hall(None, queue_seconds=10) as hall:
        tasks = [hall.start(tenant=f"t{number}") for number in range(11)]
        await settled()
        began = now()
        with pytest.raises(OverloadedError) as caught:
            await hall.start(tenant="one more")

        assert now() == began
        assert caught.value.reason is Reason.QUEUE_FULL
        assert caught.value.retry_after == pytest.approx(1.0), "a second of work is too much, and one is done at a time"
        await asyncio.sleep(caught.value.retry_after + 0.01)
        tasks.append(hall.start(tenant="one more"))
        await asyncio.gather(*tasks)
        assert hall.idle


@virtually
async def test_the_bound_is_for_each_call_that_is_worked_on_at_a_time():
    async with Hall(None, None, slots=3, queue_seconds=1) as hall:
        tasks = [hall.start(tenant=f"t{number}") for number in range(20)]
        done = await asyncio.gather(*tasks, return_exceptions=True)

        assert sum(isinstance(one, OverloadedError) for one in done) == 20 - 6 - 6


@virtually
async def test_one_tenant_alone_may_fill_four_fifths_of_the_queue():
    async with Hall(None, queue_seconds=10) as hall:
        greedy = [hall.start(tenant="greedy") for _ in range(20)]
        await settled()
        assert hall.pool.waiting == pytest.approx(8.0)
        modest = hall.start(tenant="modest")
        _, at = await modest

        assert at == pytest.approx(2.0), "it is served after what was being worked on"
        await asyncio.gather(*greedy, return_exceptions=True)


@virtually
async def test_a_call_larger_than_the_bound_is_taken_where_nothing_waits():
    async with Hall(None, queue_seconds=1) as hall:
        await asyncio.gather(hall.start(), hall.start(steps=1000))


@virtually
async def test_tenants_share_whatever_each_asks_for():
    async with Hall(None, queue_seconds=1000) as hall:
        greedy = [hall.start(tenant="greedy") for _ in range(20)]
        await asyncio.sleep(2.5)
        modest = [hall.start(tenant="modest") for _ in range(5)]
        ends = [at for _, at in await asyncio.gather(*modest)]

        assert ends == pytest.approx([4, 6, 8, 10, 12], abs=0.01), "every other one is theirs"
        await asyncio.gather(*greedy)


@virtually
async def test_the_urgent_go_first_and_what_can_wait_is_not_forgotten():
    async with Hall(None, queue_seconds=1000, ageing=5.0) as hall:
        patient = [hall.start(seed=number, priority=-2) for number in range(2)]
        usual = [hall.start(seed=number) for number in range(30)]
        await asyncio.sleep(0.5)
        urgent = hall.start(priority=2)

        assert (await urgent)[1] == pytest.approx(2.0)
        assert 10 < (await patient[1])[1] < 25
        await asyncio.gather(*patient, *usual)


@virtually
async def test_who_is_cancelled_or_late_leaves_the_queue_at_once():
    async with Hall(None) as hall:
        working = hall.start()
        await settled()
        cancelled, late = hall.start(), hall.start(deadline=Deadline.after(0.3))
        await settled()
        assert hall.pool.waiting == pytest.approx(2.0)
        cancelled.cancel()
        await settled()
        assert hall.pool.waiting == pytest.approx(1.0)
        with pytest.raises(DeadlineError, match="the a workers were busy"):
            await late

        assert now() == pytest.approx(0.3)
        assert hall.pool.waiting == 0.0
        await working
        assert hall.counts == [1]
        assert hall.idle


@virtually
async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_on():
    async with Hall(None) as hall:
        first = hall.decoder.decode(DecodeJob("a", tensor_of(b"c", (4,)), 1), Deadline.never())
        await anext(first)
        second, third = hall.start(), hall.start()
        await settled()
        await first.aclose()
        second.cancel()

        assert (await third)[1] == pytest.approx(1.1)
        assert second.cancelled()
        assert hall.idle


@virtually
async def test_who_stops_listening_makes_room():
    async with Hall(None) as hall:
        async with aclosing(hall.decoder.decode(DecodeJob("a", tensor_of(b"c", (4,)), 1), Deadline.never())) as events:
            assert isinstance(await anext(events), Progress)
            waiting = hall.start()
        assert (await waiting)[1] == pytest.approx(1.1)
        assert hall.idle


@virtually
async def test_a_reserved_place_keeps_others_away_and_is_given_back():
    async with Hall(None, None, slots=4) as hall:
        place = hall.decoder.reserve(steps=None, tenant="", priority=0)
        tasks = [hall.start()]
        await settled()
        assert hall.running == [0, 1], "the first is expected to have work"
        place.release()
        place.release()
        assert hall.pool.waiting == 0.0
        tasks.append(hall.start())
        await settled()

        assert hall.running == [1, 1]
        await asyncio.gather(*tasks)
        assert hall.idle


@virtually
async def test_a_reserved_place_holds_nothing_up_but_comes_before_whoever_came_later():
    async with Hall(None) as hall:
        working = hall.start()
        await settled()
        place = hall.decoder.reserve(steps=None, tenant="", priority=0)
        rivals = [hall.start(seed=number) for number in range(2)]
        await asyncio.sleep(1.5)
        assert hall.counts == [2], "the first rival was not kept waiting for what was only expected"
        performing = asyncio.create_task(made(place, DecodeJob("a", tensor_of(b"c", (4,)), 9), Deadline.never()))
        await settled()
        assert hall.pool.waiting == pytest.approx(2.0), "it and the second rival"
        place.release()
        _, at = await performing

        assert at == pytest.approx(3.0)
        assert [end for _, end in await asyncio.gather(working, *rivals)] == pytest.approx([1, 2, 4], abs=0.01)
        assert hall.idle


@virtually
async def test_a_reserved_place_lapses():
    async with Hall(None, reservation_timeout=5.0) as hall:
        place = hall.decoder.reserve(steps=None, tenant="", priority=0)
        assert hall.pool.waiting > 0
        await asyncio.sleep(5.1)

        assert hall.idle
        await made(place, DecodeJob("a", tensor_of(b"c", (4,)), 9), Deadline.never())
        assert hall.idle


@virtually
async def test_where_the_queue_is_full_no_place_is_kept():
    async with Hall(None, queue_seconds=1) as hall:
        tasks = [hall.start(tenant=name) for name in "xy"]
        await settled()
        before = hall.pool.waiting
        hall.decoder.reserve(steps=None, tenant="z", priority=0)

        assert hall.pool.waiting == before
        await asyncio.gather(*tasks)


@virtually
async def test_what_waits_what_is_left_to_do_and_who_is_refused_or_ejected_is_told():
    def value(name, **labels):
        return REGISTRY.get_sample_value(f"motet_pool_{name}", {"pool": "a", **labels})

    refused, ejected = value("refused_total") or 0, value("ejections_total", replica="0") or 0
    async with Hall(Trouble(LOST, times=1), None, eject_after=1, queue_seconds=0.5) as hall:
        tasks = [hall.start(tenant=f"t{number}") for number in range(3)]
        await settled()

        assert [value("outstanding_seconds", replica=number) for number in "01"] == pytest.approx([0.0, 1.0])
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
            st.sampled_from(["listen", "cancel", "reserve", "change the mind"]),
        ),
        max_size=20,
    ),
    st.lists(st.sampled_from([None, Trouble(LOST, after=2, times=4), Trouble(AWAY, times=3)]), min_size=1, max_size=3),
)
def test_whatever_happens_the_books_end_at_zero(arrivals, troubles):
    async def one(hall, at, tenant, priority, timeout, what):
        await asyncio.sleep(at)
        job = DecodeJob("a", tensor_of(b"c", (4,)), 1, tenant=tenant, priority=priority)
        deadline = Deadline.never() if timeout is None else Deadline.after(timeout)
        place = hall.decoder.reserve(steps=None, tenant=tenant, priority=priority) if what != "listen" else hall.decoder
        if what == "change the mind":
            place.release()
            return
        task = asyncio.create_task(made(place, job, deadline))
        if what == "cancel":
            await asyncio.sleep(0.7)
            task.cancel()
        with suppress(RetryableError, DeadlineError, asyncio.CancelledError):
            await task

    async def program():
        async with Hall(*troubles, queue_seconds=5) as hall:
            await asyncio.gather(*(one(hall, *arrival) for arrival in arrivals))
            assert hall.idle
            assert not any(toy.running for toy in hall.toys)
            assert not any(replica.reserved for replica in hall.pool._replicas)

    run_virtually(program())
