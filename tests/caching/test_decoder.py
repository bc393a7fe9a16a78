"""Tests of the caching decoder: equal jobs run once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from motet.caching.decoder import CachingDecoder, MediaCache
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, OverloadedError, Reason
from motet.core.media import Media
from motet.core.telemetry.families import generation_metrics
from motet.core.workers import DecodeJob, Decoder, Progress
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, tensor_of
from tests.waiting import in_virtual_time, run_ready_tasks

NEVER = Deadline(None)
JOB = DecodeJob("a", tensor_of(b"conditioning", (4,)), seed=7, tenant="t")


def decoder_of(inner: Any, cache: MediaCache | None = None, model: str = "m") -> CachingDecoder:
    return CachingDecoder(inner, model, MediaCache(1000) if cache is None else cache)


async def events_of(decoder: Decoder, job: DecodeJob = JOB, deadline: Deadline = NEVER) -> list[Progress | Media]:
    async with aclosing(decoder.decode(job, deadline)) as events:  # type: ignore[type-var]
        return [event async for event in events]


def count(modality: str, outcome: str) -> float:
    """Return the number of jobs of this outcome in this process."""
    return float(generation_metrics.MEDIA_CACHE.labels(modality, outcome)._value.get())


class SteppedDecoder:
    """A decoder that runs one step per permit of `allow`."""

    def __init__(self, steps: int = 3) -> None:
        self.jobs: list[DecodeJob] = []
        self.deadlines: list[Deadline] = []
        self.stopped = 0
        self._steps = steps
        self._permits = asyncio.Semaphore(0)

    def allow(self, times: int = 1) -> None:
        for _ in range(times):
            self._permits.release()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        self.jobs.append(job)
        self.deadlines.append(deadline)
        try:
            for step in range(self._steps):
                await self._permits.acquire()
                yield Progress(step + 1, self._steps)
            yield Media("x/a", b"result")
        finally:
            self.stopped += 1


async def test_an_equal_job_gets_the_cached_media() -> None:
    toy = ToyDecoder("a")
    decoder = decoder_of(toy)
    hits = count("a", "hit")

    first, second = await events_of(decoder), await events_of(decoder)

    assert [type(event) for event in first] == [Progress, Progress, Media]
    assert second == first[-1:]
    assert len(toy.seen) == 1
    assert count("a", "hit") == hits + 1


KEY_FIELDS = {
    "modality": "b",
    "conditioning": tensor_of(b"other", (4,)),
    "seed": 8,
    "steps": 5,
    "guidance": 2.0,
    "inputs": (Media("x/a", b"input"),),
    "tenant": "another",
}
IGNORED_FIELDS = {"previews": True, "priority": 1, "min_steps": 1}


def test_the_tests_cover_every_field_of_a_job() -> None:
    assert {field.name for field in fields(DecodeJob)} == KEY_FIELDS.keys() | IGNORED_FIELDS.keys()


@pytest.mark.parametrize("field", KEY_FIELDS)
async def test_a_job_that_differs_in_a_key_field_is_a_miss(field: str) -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    await events_of(decoder)
    await events_of(decoder, replace(JOB, **{field: KEY_FIELDS[field]}))

    assert len(toy.seen) == 2


async def test_conditioning_with_the_same_bytes_and_another_shape_is_a_miss() -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    await events_of(decoder)
    await events_of(decoder, replace(JOB, conditioning=replace(JOB.conditioning, shape=(2, 2))))

    assert len(toy.seen) == 2


@pytest.mark.parametrize("field", IGNORED_FIELDS)
async def test_a_job_that_differs_only_in_an_ignored_field_is_a_hit(field: str) -> None:
    toy = ToyDecoder()
    decoder = decoder_of(toy)

    first = await events_of(decoder)

    assert await events_of(decoder, replace(JOB, **{field: IGNORED_FIELDS[field]})) == first[-1:]
    assert len(toy.seen) == 1


async def test_media_of_other_weights_are_a_miss() -> None:
    toy, cache = ToyDecoder("a"), MediaCache(1000)

    for model in ("old", "new"):
        await events_of(decoder_of(toy, cache, model=model))

    assert len(toy.seen) == 2


async def test_media_larger_than_the_cache_are_decoded_again() -> None:
    toy = ToyDecoder("a", size=64)
    decoder = decoder_of(toy, MediaCache(63))

    first, second = await events_of(decoder), await events_of(decoder)

    assert first == second
    assert len(toy.seen) == 2


async def test_concurrent_equal_jobs_run_once_and_all_callers_get_all_events() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    callers = [asyncio.create_task(events_of(decoder)) for _ in range(8)]
    await run_ready_tasks()
    stepped.allow(3)

    received = await asyncio.gather(*callers)

    expected = [Progress(1, 3), Progress(2, 3), Progress(3, 3), Media("x/a", b"result")]
    assert received == [expected] * 8
    assert len(stepped.jobs) == 1


async def test_a_late_caller_gets_the_latest_progress_and_all_later_events() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    first = asyncio.create_task(events_of(decoder))
    await run_ready_tasks()
    stepped.allow(2)
    await run_ready_tasks()

    late = asyncio.create_task(events_of(decoder))
    await run_ready_tasks()
    stepped.allow()

    assert await late == [Progress(2, 3), Progress(3, 3), Media("x/a", b"result")]
    assert len(await first) == 4


async def test_a_caller_that_cancels_does_not_stop_the_job_of_the_others() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    first, second = (asyncio.create_task(events_of(decoder)) for _ in range(2))
    await run_ready_tasks()
    stepped.allow()
    await run_ready_tasks()

    first.cancel()
    await asyncio.wait([first])
    assert stepped.stopped == 0
    stepped.allow(2)

    assert (await second)[-1] == Media("x/a", b"result")


async def test_the_job_stops_when_the_last_caller_cancels() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    callers = [asyncio.create_task(events_of(decoder)) for _ in range(2)]
    await run_ready_tasks()

    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)

    assert stepped.stopped == 1


async def test_a_job_with_previews_does_not_join_a_job_without_previews() -> None:
    toy = ToyDecoder("a", delay=0.01)
    decoder = decoder_of(toy)

    plain, previewed = await asyncio.gather(events_of(decoder), events_of(decoder, replace(JOB, previews=True)))

    assert not any(event.preview for event in plain if isinstance(event, Progress))
    assert all(event.preview for event in previewed if isinstance(event, Progress))


async def test_a_job_does_not_join_a_job_of_lower_priority() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    callers = [asyncio.create_task(events_of(decoder, replace(JOB, priority=priority))) for priority in (0, 1)]
    await run_ready_tasks()

    assert [job.priority for job in stepped.jobs] == [0, 1]
    stepped.allow(6)
    await asyncio.wait(callers)


@in_virtual_time
async def test_each_caller_waits_until_its_own_deadline() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    short = asyncio.create_task(events_of(decoder, deadline=Deadline.after(0.05)))
    await run_ready_tasks()
    long = asyncio.create_task(events_of(decoder))

    with pytest.raises(DeadlineError):
        await short
    stepped.allow(3)

    assert (await long)[-1] == Media("x/a", b"result")


@in_virtual_time
async def test_the_job_has_the_first_callers_deadline_and_restarts_with_the_latest_deadline() -> None:
    toy = ToyDecoder("a", steps=4, delay=0.02)
    reserving = ReservingDecoder(toy)
    decoder = decoder_of(reserving)
    reservation = decoder.reserve(steps=1, tenant="t", priority=0)

    late, in_time = await asyncio.gather(
        events_of(reservation, deadline=Deadline.after(0.05)),
        events_of(decoder, deadline=Deadline.after(30)),
        return_exceptions=True,
    )

    assert isinstance(late, DeadlineError)
    assert isinstance(in_time, list)
    assert isinstance(in_time[-1], Media)
    assert (len(toy.seen), reserving.used) == (2, ["1 t 0"]), "a reservation is valid for one attempt"


async def test_events_after_the_media_are_ignored() -> None:
    class TwoResults:
        async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
            for data in (b"result", b"again"):
                yield Media("x/a", data)

    decoder = decoder_of(TwoResults())

    assert await events_of(decoder) == await events_of(decoder) == [Media("x/a", b"result")]


async def test_an_error_reaches_all_callers_and_is_not_cached() -> None:
    full = OverloadedError("full", retry_after=3.0)
    toy = ToyDecoder("a", fault=InjectedFault(full, after=1, times=1), delay=0.01)
    decoder = decoder_of(toy)

    failed = await asyncio.gather(*(events_of(decoder) for _ in range(3)), return_exceptions=True)

    assert [(error.reason, error.retry_after) for error in failed] == [(Reason.QUEUE_FULL, 3.0)] * 3  # type: ignore[union-attr]
    assert isinstance((await events_of(decoder))[-1], Media)
    assert len(toy.seen) == 2


async def test_a_job_with_min_steps_runs_alone_under_its_own_deadline_and_is_not_cached() -> None:
    stepped = SteppedDecoder()
    decoder = decoder_of(stepped)
    reducible = replace(JOB, min_steps=1)
    deadlines = [Deadline.after(seconds) for seconds in (30, 20, 10)]
    jobs = zip((JOB, reducible, reducible), deadlines, strict=True)
    callers = [asyncio.create_task(events_of(decoder, job, deadline)) for job, deadline in jobs]
    await run_ready_tasks()
    assert set(stepped.deadlines) == set(deadlines)

    stepped.allow(9)
    await asyncio.wait(callers)

    other = decoder_of(toy := ToyDecoder("a"))
    await events_of(other, reducible)
    await events_of(other)
    assert len(toy.seen) == 2, "the media of a job with min_steps are not cached"


@in_virtual_time
async def test_a_hanging_decoder_is_cancelled_at_the_last_deadline() -> None:
    toy = ToyDecoder("a", fault=InjectedFault(Pause()))
    decoder = decoder_of(toy)

    with pytest.raises(DeadlineError):
        await events_of(decoder, deadline=Deadline.after(0.02))

    assert toy.running == 0


class ReservingDecoder:
    """A decoder with reservations that records the used and the released reservations."""

    def __init__(self, toy: ToyDecoder) -> None:
        self.toy = toy
        self.used: list[str] = []
        self.released: list[str] = []

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        return self.toy.decode(job, deadline)

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> SlotReservation:
        return SlotReservation(self, f"{steps} {tenant} {priority}")


@dataclass
class SlotReservation:
    decoder: ReservingDecoder
    name: str

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        self.decoder.used.append(self.name)
        return self.decoder.decode(job, deadline)

    def release(self) -> None:
        self.decoder.released.append(self.name)


async def test_reservations_go_to_the_inner_decoder_and_are_released_if_the_job_is_cached_or_joined() -> None:
    reserving = ReservingDecoder(ToyDecoder("a", delay=0.01))
    decoder = decoder_of(reserving)
    first, joining, late = (decoder.reserve(steps=steps, tenant="t", priority=0) for steps in (1, 2, 3))

    ran, joined = await asyncio.gather(events_of(first), events_of(joining))
    cached = await events_of(late)

    assert reserving.used == ["1 t 0"]
    assert reserving.released == ["2 t 0", "3 t 0"]
    assert ran == joined
    assert cached == ran[-1:]
    unused = decoder.reserve(steps=4, tenant="t", priority=0)
    unused.release()
    assert reserving.released[2:] == ["4 t 0"]


async def test_a_decoder_without_reservations_runs_the_job_unreserved() -> None:
    toy = ToyDecoder("a")
    reservation = decoder_of(toy).reserve(steps=None, tenant="", priority=0)

    assert isinstance((await events_of(reservation))[-1], Media)
    reservation.release()


async def test_a_tenant_with_many_media_evicts_only_its_own() -> None:
    toy = ToyDecoder("a")
    decoder = decoder_of(toy, MediaCache(300))
    await events_of(decoder)
    for seed in range(10):
        await events_of(decoder, replace(JOB, tenant="greedy", seed=seed))
    hits = count("a", "hit")

    await events_of(decoder)

    assert count("a", "hit") == hits + 1
