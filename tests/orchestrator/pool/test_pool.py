"""Many workers as one: who gets a call, and what a failure costs."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from motet.core.capacity import REPORT_INTERVAL
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, FaultError, OverloadedError, Reason, RequestError, RetryableError
from motet.core.media import Media
from motet.core.workers import Prompt, Turn
from motet.toys.workers import Pause, ToyEncoder, ToyLanguageModel, Trouble, grammar_of
from orchestrator.pool.pool import Member, Pool
from orchestrator.pool.workers import PooledEncoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.simulation.virtual_loop import run_virtually
from tests.orchestrator.hall import AWAY, LOST, STEPS, Hall, settled, virtually


@virtually
async def test_a_call_goes_where_least_is_left_to_do():
    async with Hall(None, None, slots=2) as hall:
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
    async with Hall(None, None, slots=20) as hall:
        hall.toys[1]._pause = Pause(0.4)
        await asyncio.gather(*(hall.start() for _ in range(8)))
        tasks = [hall.start() for _ in range(10)]
        await settled()

        assert hall.running == [8, 2]
        assert hall.pool.outstanding == pytest.approx([8.0, 8.0])
        await asyncio.gather(*tasks)


@virtually
async def test_work_of_other_orchestrators_counts():
    async with Hall(None, None, slots=4) as hall:
        hall.posts[0].tell(slots=4, running=2, seconds=5.0)
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
    async with Hall(None, None, slots=4) as hall:
        first = [hall.start(seed=number) for number in range(2)]
        await settled()
        hall.posts[0].tell(slots=4, running=1, draining=True)
        await settled()
        rest = [hall.start(seed=number) for number in range(3)]
        await asyncio.gather(*first, *rest)

        assert hall.counts == [1, 4]


@virtually
async def test_one_that_is_not_heard_of_gets_nothing_until_it_is_heard_of_again():
    async with Hall(None, None, slots=4) as hall:
        hall.posts[0].lose()
        await settled()
        await asyncio.gather(*(hall.start() for _ in range(3)))
        assert hall.counts == [0, 3]
        hall.posts[0].tell(slots=4)
        await asyncio.sleep(3)
        await hall.start()

        assert hall.counts == [1, 3]


@virtually
async def test_one_that_tells_nothing_for_long_is_not_heard_of():
    async with Hall(None, None, slots=4) as hall:
        await asyncio.sleep(20 * REPORT_INTERVAL)
        await asyncio.gather(hall.start(), hall.start())
        assert hall.counts == [1, 1], "both tell that nothing has changed"
        hall.posts[0].frozen = True
        await asyncio.sleep(5 * REPORT_INTERVAL)
        await asyncio.gather(*(hall.start() for _ in range(3)))
        assert hall.counts == [1, 4]
        hall.posts[0].frozen = False
        hall.posts[0].tell(slots=4)
        await asyncio.sleep(3)
        await hall.start()

        assert hall.counts == [2, 4]


@virtually
async def test_one_that_is_not_heard_of_is_tried_before_one_that_drains():
    async with Hall(None, None, slots=4) as hall:
        hall.posts[0].tell(slots=4, draining=True)
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
async def test_a_failed_call_is_retried_once():
    for halls in (Hall(*[Trouble(LOST)] * 3), Hall(Trouble(LOST))):
        async with halls as hall:
            with pytest.raises(RetryableError, match="gone"):
                await hall.start()
            assert sum(hall.counts) == 2
            assert hall.idle


@virtually
async def test_the_only_replica_gets_a_call_again_unless_an_item_was_yielded():
    for after, attempts in ((0, 2), (1, 1)):
        async with Hall(Trouble(LOST, after=after, times=1)) as hall:
            with suppress(RetryableError):
                await hall.start()
            assert hall.counts == [attempts]
            assert hall.idle


@virtually
async def test_an_overloaded_only_replica_gets_a_media_job_again_after_the_time_that_it_names():
    busy = OverloadedError("busy", retry_after=3.0)
    async with Hall(Trouble(busy, times=1)) as hall:
        _, at = await hall.start()
        assert at == pytest.approx(4.0), "three seconds of waiting and one of work"
    async with Hall(Trouble(busy, times=1)) as hall:
        began = now()
        with pytest.raises(OverloadedError):
            await hall.start(deadline=Deadline.after(2.0))
        assert now() == began, "a wait beyond the deadline is pointless"
        assert hall.idle


@virtually
async def test_an_overloaded_only_language_model_refuses_at_once():
    model = ToyLanguageModel(grammar_of("a"), [OverloadedError("busy", retry_after=3.0)])
    pooled = PooledLanguageModel(Pool("language model", [Member(model)], OrchestratorSettings()))

    with pytest.raises(OverloadedError):
        async for _ in pooled.generate(Prompt((Turn("user", ("hi",)),)), Deadline.never()):
            pass

    assert now() == 0.0
    assert len(model.seen) == 1


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
        async def encode(self, media, deadline, **whose):
            raise AWAY

    pool = Pool("encoder", [Member(Away()), Member(ToyEncoder())], OrchestratorSettings())

    assert len(await PooledEncoder(pool).encode([Media("x/a", b"1")], Deadline.never())) == 1


@virtually
async def test_one_that_fails_in_a_row_is_left_alone_then_probed_by_one_call_and_readmitted():
    async with Hall(Trouble(LOST, times=3), None, slots=8, eject_for=10) as hall:
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
        async with Hall(Trouble(error, times=5), None, slots=8) as hall:
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
