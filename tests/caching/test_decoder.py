"""Equal jobs are done once, and nobody can tell but by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from motet.caching.decoder import CachingDecoder, Finished
from motet.core import metrics
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError, Reason
from motet.core.media import Media
from motet.core.workers import DecodeJob, Decoder, Progress
from motet.toys.workers import Pause, ToyDecoder, Trouble, tensor_of
from tests.waiting import turns

SOON = Deadline(None)
JOB = DecodeJob("a", tensor_of(b"conditioning", (4,)), seed=7, tenant="t")


def decoder_of(inner: Any, memory: Finished | None = None, model: str = "m") -> CachingDecoder:
    return CachingDecoder(inner, model, Finished(1000) if memory is None else memory)


async def made(decoder: Decoder, job: DecodeJob = JOB, deadline: Deadline = SOON) -> list[Progress | Media]:
    async with aclosing(decoder.decode(job, deadline)) as events:  # type: ignore[type-var]
        return [event async for event in events]


def count(modality: str, outcome: str) -> float:
    """How many jobs came out so in this process."""
    return float(metrics.MEDIA_CACHE.labels(modality, outcome)._value.get())


class Gate:
    """A decoder that waits to be told to go on before each step."""

    def __init__(self, steps: int = 3) -> None:
        self.jobs: list[DecodeJob] = []
        self.deadlines: list[Deadline] = []
        self.stopped = 0
        self._steps = steps
        self._may_go_on = asyncio.Semaphore(0)

    def go_on(self, times: int = 1) -> None:
        for _ in range(times):
            self._may_go_on.release()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        self.jobs.append(job)
        self.deadlines.append(deadline)
        try:
            for step in range(self._steps):
                await self._may_go_on.acquire()
                yield Progress(step + 1, self._steps)
            yield Media("x/a", b"made")
        finally:
            self.stopped += 1


async def test_an_equal_job_gets_the_same_media_at_once() -> None:
    toy = ToyDecoder("a")
    decoder = decoder_of(toy)
    kept = count("a", "kept")

    first, again = await made(decoder), await made(decoder)

    assert [type(event) for event in first] == [Progress, Progress, Media]
    assert again == first[-1:]
    assert len(toy.seen) == 1
    assert count("a", "kept") == kept + 1


OTHERS = {
    "modality": "b",
    "conditioning": tensor_of(b"other", (4,)),
    "seed": 8,
    "steps": 5,
    "guidance": 2.0,
    "inputs": (Media("x/a", b"input"),),
    "tenant": "another",
}
SAME = {"previews": True, "priority": 1, "min_steps": 1}


def test_every_field_of_a_job_is_known_to_change_what_comes_out_or_not_to() -> None:
    assert {field.name for field in fields(DecodeJob)} == OTHERS.keys() | SAME.keys()


@pytest.mark.parametrize("field", OTHERS)
async def test_a_job_that_differs_in_what_comes_out_is_done_by_itself(field: str) -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    await made(decoder)
    await made(decoder, replace(JOB, **{field: OTHERS[field]}))

    assert len(toy.seen) == 2


async def test_conditioning_of_another_shape_with_the_same_bytes_is_another_job() -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    await made(decoder)
    await made(decoder, replace(JOB, conditioning=replace(JOB.conditioning, shape=(2, 2))))

    assert len(toy.seen) == 2


@pytest.mark.parametrize("field", SAME)
async def test_a_job_that_differs_only_in_how_it_is_done_gets_what_was_kept(field: str) -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    first = await made(decoder)

    assert await made(decoder, replace(JOB, **{field: SAME[field]})) == first[-1:]
    assert len(toy.seen) == 1


async def test_media_of_other_weights_are_not_reused() -> None:
    toy, memory = ToyDecoder("a"), Finished(1000)

    for model in ("old", "new"):
        await made(decoder_of(toy, memory, model=model))

    assert len(toy.seen) == 2


async def test_media_that_do_not_fit_into_the_memory_are_made_again() -> None:
    toy = ToyDecoder("a", size=64)
    decoder = decoder_of(toy, Finished(63))

    first, again = await made(decoder), await made(decoder)

    assert first == again
    assert len(toy.seen) == 2


async def test_equal_jobs_under_way_are_done_once_and_all_hear_of_it() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    callers = [asyncio.create_task(made(decoder)) for _ in range(8)]
    await turns()
    gate.go_on(3)

    heard = await asyncio.gather(*callers)

    whole = [Progress(1, 3), Progress(2, 3), Progress(3, 3), Media("x/a", b"made")]
    assert heard == [whole] * 8
    assert len(gate.jobs) == 1


async def test_who_joins_late_hears_the_latest_progress_and_then_the_rest() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    first = asyncio.create_task(made(decoder))
    await turns()
    gate.go_on(2)
    await turns()

    late = asyncio.create_task(made(decoder))
    await turns()
    gate.go_on()

    assert await late == [Progress(2, 3), Progress(3, 3), Media("x/a", b"made")]
    assert len(await first) == 4


async def test_one_who_leaves_stops_nothing_for_the_others() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    first, second = (asyncio.create_task(made(decoder)) for _ in range(2))
    await turns()
    gate.go_on()
    await turns()

    first.cancel()
    await asyncio.wait([first])
    assert gate.stopped == 0
    gate.go_on(2)

    assert (await second)[-1] == Media("x/a", b"made")


async def test_when_the_last_has_left_the_decoder_has_stopped() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    callers = [asyncio.create_task(made(decoder)) for _ in range(2)]
    await turns()

    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)

    assert gate.stopped == 1


async def test_who_wants_previews_does_not_wait_with_those_who_do_not() -> None:
    toy = ToyDecoder("a", delay=0.01)
    decoder = decoder_of(toy)

    plain, shown = await asyncio.gather(made(decoder), made(decoder, replace(JOB, previews=True)))

    assert not any(event.preview for event in plain if isinstance(event, Progress))
    assert all(event.preview for event in shown if isinstance(event, Progress))


async def test_the_urgent_do_not_wait_with_those_who_are_not() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    callers = [asyncio.create_task(made(decoder, replace(JOB, priority=priority))) for priority in (0, 1)]
    await turns()

    assert [job.priority for job in gate.jobs] == [0, 1]
    gate.go_on(6)
    await asyncio.wait(callers)


async def test_each_waits_until_its_own_deadline() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    hasty = asyncio.create_task(made(decoder, deadline=Deadline.after(0.05)))
    await turns()
    patient = asyncio.create_task(made(decoder))

    with pytest.raises(DeadlineError):
        await hasty
    gate.go_on(3)

    assert (await patient)[-1] == Media("x/a", b"made")


async def test_the_decoder_has_the_time_that_its_first_caller_has_and_then_the_most_that_anybody_has() -> None:
    toy = ToyDecoder("a", steps=4, delay=0.02)
    desk = Desk(toy)
    decoder = decoder_of(desk)
    place = decoder.reserve(steps=1, tenant="t", priority=0)

    late, made_in_time = await asyncio.gather(
        made(place, deadline=Deadline.after(0.05)), made(decoder, deadline=Deadline.after(30)), return_exceptions=True
    )

    assert isinstance(late, DeadlineError)
    assert isinstance(made_in_time, list)
    assert isinstance(made_in_time[-1], Media)
    assert (len(toy.seen), desk.used) == (2, ["1 t 0"]), "a place is good for one attempt"


async def test_what_a_decoder_says_after_its_media_is_not_listened_to() -> None:
    class Babbling:
        async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
            for data in (b"made", b"again"):
                yield Media("x/a", data)

    decoder = decoder_of(Babbling())

    assert await made(decoder) == await made(decoder) == [Media("x/a", b"made")]


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    full = OverloadedError("full", retry_after=3.0)
    toy = ToyDecoder("a", trouble=Trouble(full, after=1, times=1), delay=0.01)
    decoder = decoder_of(toy)

    failed = await asyncio.gather(*(made(decoder) for _ in range(3)), return_exceptions=True)

    assert [(error.reason, error.retry_after) for error in failed] == [(Reason.QUEUE_FULL, 3.0)] * 3  # type: ignore[union-attr]
    assert isinstance((await made(decoder))[-1], Media)
    assert len(toy.seen) == 2


async def test_a_job_that_may_be_hurried_runs_under_its_own_deadline_and_is_kept_for_nobody() -> None:
    gate = Gate()
    decoder = decoder_of(gate)
    hurried = replace(JOB, min_steps=1)
    deadlines = [Deadline.after(seconds) for seconds in (30, 20, 10)]
    jobs = zip((JOB, hurried, hurried), deadlines, strict=True)
    callers = [asyncio.create_task(made(decoder, job, deadline)) for job, deadline in jobs]
    await turns()
    assert set(gate.deadlines) == set(deadlines)

    gate.go_on(9)
    await asyncio.wait(callers)

    other = decoder_of(toy := ToyDecoder("a"))
    await made(other, hurried)
    await made(other)
    assert len(toy.seen) == 2, "what came out of a hurry is nobody else's"


async def test_a_decoder_that_hangs_is_left_when_nobody_waits_any_more() -> None:
    toy = ToyDecoder("a", trouble=Trouble(Pause()))
    decoder = decoder_of(toy)

    with pytest.raises(DeadlineError):
        await made(decoder, deadline=Deadline.after(0.02))

    assert toy.running == 0


class Desk:
    """A decoder that reserves places and notes what becomes of them."""

    def __init__(self, toy: ToyDecoder) -> None:
        self.toy = toy
        self.used: list[str] = []
        self.given_back: list[str] = []

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        return self.toy.decode(job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> Seat:
        return Seat(self, f"{steps} {tenant} {priority}")


@dataclass
class Seat:
    desk: Desk
    name: str

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        self.desk.used.append(self.name)
        return self.desk.decode(job, deadline)

    def release(self) -> None:
        self.desk.given_back.append(self.name)


async def test_places_are_reserved_with_the_decoder_and_given_back_at_once_by_those_who_need_none() -> None:
    desk = Desk(ToyDecoder("a", delay=0.01))
    decoder = decoder_of(desk)
    first, joining, late = (decoder.reserve(steps=steps, tenant="t", priority=0) for steps in (1, 2, 3))

    one, other = await asyncio.gather(made(first), made(joining))
    again = await made(late)

    assert desk.used == ["1 t 0"]
    assert desk.given_back == ["2 t 0", "3 t 0"]
    assert one == other
    assert again == one[-1:]
    unused = decoder.reserve(steps=4, tenant="t", priority=0)
    unused.release()
    assert desk.given_back[2:] == ["4 t 0"]


async def test_a_place_with_a_decoder_that_has_none_is_as_good_as_the_decoder() -> None:
    toy = ToyDecoder("a")
    place = decoder_of(toy).reserve(steps=None, tenant="", priority=0)

    assert isinstance((await made(place))[-1], Media)
    place.release()
