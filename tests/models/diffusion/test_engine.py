"""Batched steps: exact results, isolation of jobs, and order. The models are tiny and have random weights."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from motet.core.bundle import Bundle, bundle_folder
from motet.core.deadline import Deadline
from motet.core.errors import FaultError, OverloadedError, Reason
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Progress
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import load_decoder
from motet.models.diffusion.model import DenoisingState
from tests.models.diffusion.conftest import MakeDecoder
from tests.models.diffusion.watched_model import WatchedModel, job, measured, media, run_together


async def test_a_job_starts_and_stops_between_any_two_steps(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(4))
    model.hold()
    first = asyncio.create_task(media(decoder, job(seed=1, steps=5)))
    await model.begun(1)
    second = asyncio.create_task(media(decoder, job(seed=2, steps=2)))
    await asyncio.sleep(0)
    model.release()
    await asyncio.gather(first, second)
    assert model.batch_sizes == [1, 2, 2, 1, 1]


async def test_jobs_without_guidance_are_batched_separately(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(4))
    await run_together(decoder, model, [job(seed=n, guidance=1.0 if n > 1 else 3.0) for n in range(4)])
    assert all(len({state.rows for state in states}) == 1 for states in model.steps)
    assert set(model.batch_sizes) == {2}


async def test_a_batch_is_no_larger_than_the_fastest_size_and_other_jobs_wait(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(2))
    await run_together(decoder, model, [job(seed=seed) for seed in range(5)])
    assert model.batch_sizes == [2] * 8 + [1] * 4


async def test_a_job_of_higher_priority_is_first_from_the_next_step_on(make_decoder: MakeDecoder) -> None:
    decoder, model = make_decoder(measured(1))
    finished: list[int] = []

    async def run(priority: int, steps: int) -> None:
        await media(decoder, job(seed=priority, steps=steps, priority=priority))
        finished.append(priority)

    model.hold()
    low = asyncio.create_task(run(0, 8))
    await model.begun(1)
    high = asyncio.create_task(run(1, 10))
    await asyncio.sleep(0)
    model.release()
    await asyncio.gather(low, high)
    assert finished == [1, 0]


@pytest.mark.parametrize("modality", ["image", "audio", "video"])
async def test_batched_jobs_return_the_same_bits_as_single_jobs_also_during_trials(
    make_decoder: MakeDecoder, modality: str
) -> None:
    curve = CostCurve()
    batching, model = make_decoder(curve, modality)
    sequential, _ = make_decoder(measured(1), modality)
    jobs = [
        job(modality, 1, steps=12),
        job(modality, 2, steps=20),
        job(modality, 3, steps=16, guidance=5.0),
        job(modality, 4, steps=12, previews=True),
    ]
    expected = [await media(sequential, each) for each in jobs]
    assert await asyncio.gather(*(media(batching, each) for each in jobs)) == expected
    assert 2 in curve.costs
    assert 2 in model.batch_sizes


async def test_batched_pictures_of_the_nano_bundle_have_the_same_bits_as_single_ones() -> None:
    bundle = Bundle.load(bundle_folder("nano"), ("decoders/image", "decoders/autoencoder"))
    decoder = load_decoder(bundle, "image")
    values = [np.random.default_rng(seed).standard_normal((8, 128), "f4").tobytes() for seed in range(3)]
    conditioning = [Tensor("float32", (8, 128), each) for each in values]
    jobs = [DecodeJob("image", conditioning[n], n, 10 + n, guidance) for n in range(3) for guidance in (None, 1.0)]
    expected = [await media(decoder, each) for each in jobs]
    assert await asyncio.gather(*(media(decoder, each) for each in jobs)) == expected
    assert {rows: curve.allows(2) for rows, curve in decoder._engine._curves.items()} == {1: True, 2: True}
    decoder.close()


async def test_a_single_job_starts_no_trial(make_decoder: MakeDecoder) -> None:
    curve = CostCurve()
    decoder, model = make_decoder(curve)
    await media(decoder, job(steps=6))
    assert model.batch_sizes == [1] * 6
    assert not curve.costs


async def test_a_batch_size_that_changes_a_result_is_detected_and_not_used(make_decoder: MakeDecoder) -> None:
    curve = CostCurve()
    decoder, model = make_decoder(curve)
    sequential, _ = make_decoder(measured(1))

    class Inexact(WatchedModel):
        def predict(self, states: Sequence[DenoisingState]) -> list[torch.Tensor]:
            return [output + 1e-7 * len(states) * (len(states) > 1) for output in super().predict(states)]

    decoder._engine._model = inexact = Inexact(model.model)
    jobs = [job(seed=seed, steps=8) for seed in range(2)]
    results = await asyncio.gather(*(media(decoder, each) for each in jobs))
    assert curve.costs[2].difference > 0
    assert inexact.batch_sizes.count(2) == 1
    assert results == [await media(sequential, each) for each in jobs]


async def test_a_result_that_is_not_finite_fails_its_job_alone(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(4))
    sequential, _ = make_decoder(measured(1))
    good = job(seed=2)
    bad = job(conditioning=Tensor("float32", (4, 8), b"\xff\xff\x7f\x7f" * 32), guidance=50.0)
    error, result = await asyncio.gather(media(decoder, bad), media(decoder, good), return_exceptions=True)
    assert isinstance(error, FaultError)
    assert "not finite" in error.message
    assert result == await media(sequential, good)


async def test_an_error_in_the_scheduler_of_a_job_fails_that_job_alone(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, model = make_decoder(measured(4))
    sequential, _ = make_decoder(measured(1))
    advance = model.model.advance

    def fail_at_third_step(state: DenoisingState, output: torch.Tensor) -> None:
        if state.total == 5 and state.step == 2:
            raise ArithmeticError("a scheduler failed")
        advance(state, output)

    monkeypatch.setattr(model.model, "advance", fail_at_third_step)
    jobs = [job(seed=1, steps=5), job(seed=2)]
    error, result = await asyncio.gather(*(media(decoder, each) for each in jobs), return_exceptions=True)
    assert isinstance(error, ArithmeticError)
    assert result == await media(sequential, jobs[1])


async def test_if_a_batch_needs_too_much_memory_its_jobs_are_computed_one_by_one(
    make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, model = make_decoder(measured(4))
    sequential, _ = make_decoder(measured(1))
    predict = model.model.predict

    def predict_in_little_memory(states: Sequence[DenoisingState]) -> list[torch.Tensor]:
        if len(states) > 1 or states[0].total == 5:
            raise torch.OutOfMemoryError("not enough memory")
        return predict(states)

    expected = await media(sequential, job(seed=2))
    monkeypatch.setattr(model.model, "predict", predict_in_little_memory)
    jobs = [job(seed=1, steps=5), job(seed=2)]
    error, result = await asyncio.gather(*(media(decoder, each) for each in jobs), return_exceptions=True)
    assert isinstance(error, OverloadedError)
    assert error.reason is Reason.OUT_OF_MEMORY
    assert result == expected


async def test_a_lack_of_memory_for_the_result_is_an_overload(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(1))

    def fail(array: Any) -> Media:
        raise torch.OutOfMemoryError("not enough memory")

    decoder._engine._to_media = fail
    with pytest.raises(OverloadedError) as raised:
        await media(decoder, job())
    assert raised.value.reason is Reason.OUT_OF_MEMORY


async def test_media_are_finished_during_the_steps_of_other_jobs(make_decoder: MakeDecoder) -> None:
    decoder, _ = make_decoder(measured(4))
    finishing, allowed = threading.Event(), threading.Event()
    to_media = decoder._engine._to_media

    def wait_and_encode(array: Any) -> Media:
        finishing.set()
        assert allowed.wait(50)
        return to_media(array)

    decoder._engine._to_media = wait_and_encode
    first = asyncio.create_task(media(decoder, job(seed=1, steps=1)))
    assert await asyncio.to_thread(finishing.wait, 50)
    stream = decoder.decode(job(seed=2), Deadline.never())
    assert [await anext(stream) for _ in range(4)] == [Progress(step, 4) for step in range(1, 5)]
    assert not first.done()
    allowed.set()
    await first
    assert isinstance(await anext(stream), Media)
