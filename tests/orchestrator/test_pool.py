"""Many workers as one: who gets a call, who waits, who is refused, and what a failure costs. On a made-up clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from benchmarks.virtual_loop import run_virtually
from motet.core.capacity import Capacity
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, FaultError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.media import Media
from motet.core.toys import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, Trouble, grammar_of, tensor_of
from motet.core.workers import DecodeJob, Progress, Prompt, Turn
from orchestrator.pool import Member, Pool
from orchestrator.pooled import PooledDecoder, PooledEncoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings

STEPS = 10
LOST = RetryableError("gone", Reason.WORKER_LOST)
AWAY = RetryableError("not there", Reason.WORKER_UNAVAILABLE)


class Post:
    """Where a test tells a pool a worker's load, or, by None, that it is not heard of any more."""

    def __init__(self, width: int = 1) -> None:
        self.told: asyncio.Queue[Capacity | None] = asyncio.Queue()
        self.tell(width=width)

    def tell(self, **load) -> None:
        self.told.put_nowait(Capacity(**load))

    def lose(self) -> None:
        self.told.put_nowait(None)

    async def loads(self) -> AsyncIterator[Capacity]:
        while (load := await self.told.get()) is not None:
            yield load
        raise AWAY


class Hall:
    """A pool of decoders, each with a post. A step takes `delay` seconds."""

    def __init__(self, *troubles: Trouble | None, width: int = 1, delay: float = 0.1, **options) -> None:
        self.toys = [ToyDecoder(steps=STEPS, delay=delay, trouble=trouble) for trouble in troubles]
        self.posts = [Post(width) for _ in troubles]
        members = [Member(toy, post.loads) for toy, post in zip(self.toys, self.posts, strict=True)]
        self.pool = Pool("a", members, OrchestratorSettings(**options), guess=delay, random=Random(1))
        self.decoder = PooledDecoder(self.pool, STEPS)

    async def __aenter__(self):
        await self.pool.__aenter__()
        await settled()
        return self

    async def __aexit__(self, *exception):
        await self.pool.__aexit__(*exception)

    def start(self, seed=0, tenant="", priority=0, deadline=None, steps=None):
        """A job under way."""
        job = DecodeJob("a", tensor_of(b"c", (4,)), seed, steps=steps, tenant=tenant, priority=priority)
        return asyncio.create_task(made(self.decoder, job, deadline or Deadline.never()))

    @property
    def idle(self) -> bool:
        """Whether the books say that nothing is to be done."""
        return self.pool.outstanding == [0.0] * len(self.toys) and self.pool.waiting == 0.0

    @property
    def counts(self) -> list[int]:
        return [len(toy.seen) for toy in self.toys]

    @property
    def running(self) -> list[int]:
        return [toy.running for toy in self.toys]


async def made(decoder, job, deadline):
    """A job's media and when they were there."""
    async with aclosing(decoder.decode(job, deadline)) as events:
        async for event in events:
            if isinstance(event, Media):
                return event, now()
    raise AssertionError("no media")


async def settled() -> None:
    """Everything that can happen without time passing has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def virtually(test):
    """Run a test on a made-up clock."""

    def run(*arguments, **named):
        run_virtually(test(*arguments, **named))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@virtually
async def test_a_call_goes_where_least_is_left_to_do():
    async with Hall(None, None, width=2) as hall:
        long = hall.start(steps=100)
        await settled()
        short = [hall.start(steps=10)]
        await settled()
        assert hall.running == [1, 1]
        await asyncio.sleep(0.5)
        short.append(hall.start(steps=10))
        await settled()

        assert hall.running == [1, 2], "two short ones are done before the long one, whose steps are counted off"
        await asyncio.gather(long, *short)
        assert hall.idle


@virtually
async def test_what_is_left_falls_with_each_step():
    async with Hall(None) as hall:
        task = hall.start(steps=100)
        await asyncio.sleep(2.05)

        assert hall.pool.outstanding == [pytest.approx(8.0)]
        await task


@virtually
async def test_a_slow_replica_gets_less():
    async with Hall(None, None) as hall:
        hall.toys[1]._pause = Pause(0.4)
        tasks = [hall.start(seed=number) for number in range(40)]
        await asyncio.gather(*tasks)

        assert 28 <= hall.counts[0] <= 34, "four times as fast, four fifths of the work"


@virtually
async def test_how_fast_each_is_is_learned():
    async with Hall(None, None, width=20) as hall:
        hall.toys[1]._pause = Pause(0.4)
        await asyncio.gather(*(hall.start() for _ in range(8)))
        tasks = [hall.start() for _ in range(10)]
        await settled()

        assert hall.running == [8, 2]
        assert hall.pool.outstanding == pytest.approx([8.0, 8.0])
        await asyncio.gather(*tasks)


@virtually
async def test_work_of_other_orchestrators_counts():
    async with Hall(None, None, width=4) as hall:
        hall.posts[0].tell(width=4, running=2, seconds=5.0)
        await settled()
        tasks = [hall.start() for _ in range(2)]
        await settled()

        assert hall.running == [0, 2]
        await asyncio.gather(*tasks)


@virtually
async def test_a_call_waits_for_a_replica_and_is_bound_when_one_is_free():
    async with Hall(None, None) as hall:
        hall.toys[1]._pause = Pause(0.01)
        tasks = [hall.start(seed=number) for number in range(4)]
        await settled()
        assert hall.running == [1, 1]
        assert hall.pool.waiting == pytest.approx(2 * STEPS * 0.1)
        await asyncio.sleep(0.35)

        assert hall.counts == [1, 3], "the two that waited went where it was quick"
        await asyncio.gather(*tasks)
        assert hall.idle


@virtually
async def test_one_that_drains_gets_no_more_and_finishes_what_it_has():
    async with Hall(None, None, width=4) as hall:
        first = [hall.start(seed=number) for number in range(2)]
        await settled()
        hall.posts[0].tell(width=4, running=1, draining=True)
        await settled()
        rest = [hall.start(seed=number) for number in range(3)]
        await asyncio.gather(*first, *rest)

        assert hall.counts == [1, 4]


@virtually
async def test_one_that_is_not_heard_of_gets_nothing_until_it_is_heard_of_again():
    async with Hall(None, None, width=4) as hall:
        hall.posts[0].lose()
        await settled()
        await asyncio.gather(*(hall.start() for _ in range(3)))
        assert hall.counts == [0, 3]
        hall.posts[0].tell(width=4)
        await asyncio.sleep(3)
        await hall.start()

        assert hall.counts == [1, 3]


@virtually
async def test_one_that_is_not_heard_of_is_tried_before_one_that_drains():
    async with Hall(None, None, width=4) as hall:
        hall.posts[0].tell(width=4, draining=True)
        hall.posts[1].lose()
        await settled()
        await hall.start()

        assert hall.counts == [0, 1]


@virtually
async def test_if_none_is_heard_of_the_call_itself_tells_what_is_wrong():
    async with Hall(Trouble(AWAY)) as hall:
        hall.posts[0].lose()
        await settled()
        with pytest.raises(RetryableError, match="not there"):
            await hall.start()

        assert hall.idle


@virtually
async def test_a_step_that_breaks_off_is_finished_elsewhere_to_the_same_bytes():
    async with Hall(Trouble(LOST, after=4), None) as hall:
        broken, _ = await hall.start(seed=3)
        async with Hall(None) as other:
            whole, _ = await other.start(seed=3)

        assert broken == whole
        assert hall.counts == [1, 1]
        assert hall.idle


@virtually
async def test_it_is_tried_elsewhere_once_and_only_where_there_is_an_elsewhere():
    for halls, tries in ((Hall(*[Trouble(LOST)] * 3), 2), (Hall(Trouble(LOST)), 1)):
        async with halls as hall:
            with pytest.raises(RetryableError, match="gone"):
                await hall.start()
            assert sum(hall.counts) == tries
            assert hall.idle


@pytest.mark.parametrize("error", [FaultError("broken"), RequestError("no"), DeadlineError("late")])
def test_what_would_go_wrong_elsewhere_too_is_not_tried_elsewhere(error):
    async def program():
        async with Hall(Trouble(error), None) as hall:
            with pytest.raises(type(error)):
                await hall.start()
            assert hall.counts == [1, 0]

    run_virtually(program())


@virtually
async def test_a_language_model_is_tried_elsewhere_until_it_has_said_something():
    def models(said):
        failing = ToyLanguageModel(grammar_of("a"), [*map(ord, said), LOST])
        return [failing, ToyLanguageModel(grammar_of("a"), [ord("y")])]

    for said, tries in (("", 1), ("x", 0)):
        toys = models(said)
        pool = Pool("language model", [Member(toy) for toy in toys], OrchestratorSettings())
        model = PooledLanguageModel(pool)
        with suppress(RetryableError):
            async for _ in model.generate(Prompt((Turn("user", ("hi",)),)), Deadline.never()):
                pass
        assert len(toys[1].seen) == tries


@virtually
async def test_an_encoder_is_tried_elsewhere():
    class Away:
        async def encode(self, media, deadline):
            raise AWAY

    pool = Pool("encoder", [Member(Away()), Member(ToyEncoder())], OrchestratorSettings())

    assert len(await PooledEncoder(pool).encode([Media("x/a", b"1")], Deadline.never())) == 1


@virtually
async def test_one_that_fails_in_a_row_is_left_alone_then_probed_by_one_call_and_readmitted():
    async with Hall(Trouble(LOST, times=3), None, width=8, eject_for=10) as hall:
        await asyncio.gather(*(hall.start(seed=number) for number in range(6)))
        assert hall.counts[0] == 3
        await asyncio.gather(*(hall.start() for _ in range(5)))
        assert hall.counts[0] == 3, "it is ejected"
        await asyncio.sleep(12)
        probing = [hall.start() for _ in range(4)]
        await settled()
        assert hall.running == [1, 3]
        await asyncio.gather(*probing)
        after = [hall.start() for _ in range(4)]
        await settled()

        assert hall.running == [2, 2], "it is one of them again"
        await asyncio.gather(*after)


@virtually
async def test_refusing_politely_is_no_failure():
    polite = [OverloadedError("busy"), RetryableError("stopping", Reason.DRAINING)]
    for error in polite:
        async with Hall(Trouble(error, times=5), None, width=8) as hall:
            for _ in range(6):
                await hall.start()
            assert hall.counts[0] == 6, "it is asked first every time, as it has nothing to do"


@virtually
async def test_who_waits_gets_an_ejected_replica_as_soon_as_it_may_be_probed():
    async with Hall(Trouble(LOST, times=1), None, eject_after=1, eject_for=1) as hall:
        long = hall.start(steps=100)
        await settled()
        assert hall.counts == [1, 1]
        _, at = await hall.start()

        assert 1.8 <= at <= 2.2, "a second of being left alone, and one of work"
        await long
        assert hall.idle


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
    async with Hall(None, None, width=3, queue_seconds=1) as hall:
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
    async with Hall(None, None, width=4) as hall:
        place = hall.decoder.reserve(steps=None, tenant="", priority=0)
        tasks = [hall.start()]
        await settled()
        assert hall.running == [0, 1], "the first is expected to have work"
        place.give_back()
        place.give_back()
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
        place.give_back()
        _, at = await performing

        assert at == pytest.approx(3.0)
        assert [end for _, end in await asyncio.gather(working, *rivals)] == pytest.approx([1, 2, 4], abs=0.01)
        assert hall.idle


@virtually
async def test_a_reserved_place_lapses():
    async with Hall(None, reservation=5.0) as hall:
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
            place.give_back()
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
            assert not any(replica.expected for replica in hall.pool._replicas)

    run_virtually(program())
