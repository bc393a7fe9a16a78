"""The end of jobs before their last step: deadlines, cancellation, and the closing of the decoder."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import torch

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, RetryableError
from motet.core.media import Media
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Progress
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.model import DenoisingState
from tests.models.diffusion.conftest import Clock, MakeDecoder
from tests.models.diffusion.watched_model import WatchedModel, events, job, measured, media


async def test_a_cancelled_job_takes_no_further_step(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(4))
    model.hold()
    first = asyncio.create_task(media(decoder, job(seed=1, steps=30)))
    await model.begun(1)
    times = collect_compute_times()
    second = asyncio.create_task(media(decoder, job(seed=2, steps=500)))
    await asyncio.sleep(0)
    model.allow(1)
    await model.begun(2)
    assert model.batch_sizes == [1, 2]
    second.cancel()
    await asyncio.wait([second])
    model.release()
    await first
    assert model.batch_sizes == [1, 2] + [1] * 28
    assert times.totals()[ServiceKind.DECODER, "image"].cpu > 0, "the step of the cancelled job counts"


async def test_a_deadline_stops_its_job_and_no_other(make_decoder: MakeDecoder, clock: Clock) -> None:
    decoder, model = make_decoder(measured(1))
    model.hold()
    first = asyncio.create_task(media(decoder, job(seed=1, priority=1)))
    await model.begun(1)
    late = asyncio.create_task(events(decoder, job(seed=2), Deadline.after(1)))
    await asyncio.sleep(0)
    clock.seconds += 2
    model.release()
    with pytest.raises(DeadlineError, match="waited for the decoder"):
        await late
    assert isinstance(await first, Media)
    assert len(model.steps) == 4


@pytest.mark.parametrize(
    ("seconds", "min_steps", "expected"),
    [(10.0, 5, 9), (10.0, 12, 12), (10.0, None, 20), (30.0, 5, 20), (None, 5, 20), (10.0, 30, 20)],
)
async def test_a_short_deadline_reduces_the_steps_down_to_min_steps(
    make_decoder: MakeDecoder, clock: Clock, seconds: float | None, min_steps: int | None, expected: int
) -> None:
    curve = measured(1)
    curve.observe(1, 1.0)
    decoder, _ = make_decoder(curve)
    deadline = Deadline.never() if seconds is None else Deadline.after(seconds)
    received = await events(decoder, job(steps=20, min_steps=min_steps), deadline)
    assert received[:-1] == [Progress(step, expected) for step in range(1, expected + 1)]


async def test_a_short_deadline_reduces_the_steps_of_a_decoder_without_measured_costs(
    make_decoder: MakeDecoder, clock: Clock
) -> None:
    decoder, model = make_decoder(CostCurve())

    class Timed(WatchedModel):
        def predict(self, states: Sequence[DenoisingState]) -> list[torch.Tensor]:
            clock.seconds += 1 / 128
            return super().predict(states)

    decoder._engine._model = Timed(model.model)
    received = await events(decoder, job(steps=1000, min_steps=2), Deadline.after(64 / 128))
    # Two measured steps leave 62 / 128 seconds, and a step is predicted to take 1.5 / 128 seconds.
    assert received[:-1] == [Progress(step, 41) for step in range(1, 42)]


async def test_a_cancelled_job_is_not_finished(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(1))
    finished: list[Any] = []
    decoder._engine._to_media = finished.append  # type: ignore[assignment]
    allowed = threading.Event()
    for _ in range(2):
        decoder._engine._finish_threads.submit(allowed.wait, 50)
    stream = decoder.decode(job(steps=1), Deadline.never())
    assert await anext(stream) == Progress(1, 1)
    await stream.aclose()  # type: ignore[attr-defined]
    allowed.set()
    decoder.close()
    assert not finished


async def test_closing_stops_running_jobs_and_refuses_new_ones(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(1))
    task = asyncio.create_task(media(decoder, job(steps=1000)))
    await model.begun(1)
    await asyncio.to_thread(decoder.close)
    with pytest.raises(RetryableError, match="closing"):
        await task
    with pytest.raises(RetryableError, match="closing"):
        await media(decoder, job())


def test_a_job_whose_event_loop_is_closed_does_not_stop_other_jobs(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(4))
    model.hold()

    async def begin() -> AsyncIterator[Any]:
        stream = decoder.decode(job(seed=1, steps=500), Deadline.never())
        task = asyncio.ensure_future(anext(stream))
        await model.begun(1)
        task.cancel()
        return stream

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    model.release()
    assert isinstance(asyncio.run(media(decoder, job(seed=2))), Media)
