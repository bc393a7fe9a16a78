"""The inputs of a decoder's job: read in a confined child before the job enters the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, Reason, RequestError
from motet.core.media import Media
from motet.core.workers import Progress
from motet.media.fit import fit_picture
from motet.models.diffusion import decoder as decoder_module
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from motet.transport.clients import RemoteDecoder
from tests.media.samples import PICTURE, picture_file
from tests.models.diffusion import tiny_decoders as tiny
from tests.models.diffusion.conftest import Clock, MakeDecoder
from tests.models.diffusion.watched_model import WatchedModel, events, job, measured, media, run_together
from tests.transport.serving import served

PNG, OTHER = Media("image/png", picture_file("PNG")), Media("image/png", picture_file("PNG", 255 - PICTURE))


@pytest.fixture(scope="module", params=["animation", "edit"])
def decoder(request: pytest.FixtureRequest, folder: Path) -> Iterator[DiffusionDecoder]:
    decoder = load_decoder(tiny.bundle(folder), request.param)
    yield decoder
    decoder.close()


@pytest.fixture
def model(decoder: DiffusionDecoder, monkeypatch: pytest.MonkeyPatch) -> WatchedModel:
    """The watched model of the decoder."""
    model = WatchedModel(decoder._engine._model)
    monkeypatch.setattr(decoder._engine, "_model", model)
    return model


@pytest.mark.parametrize(
    ("inputs", "reason", "message"),
    [
        ((), Reason.INVALID_REQUEST, "takes image as inputs, but the job has 0"),
        ((PNG, PNG), Reason.INVALID_REQUEST, "the job has 2"),
        ((PNG,) * 4, Reason.LIMIT_EXCEEDED, "at most 3 inputs, not 4"),
        ((Media("", b""),), Reason.UNSUPPORTED_MEDIA_TYPE, "input 1 of the job: .* no supported type"),
        ((Media("image/png", b"RIFF0000WAVE"),), Reason.UNSUPPORTED_MEDIA_TYPE, "input 1 of the job: .* audio/wav"),
        ((Media("", b"RIFF0000WAVE"),), Reason.UNSUPPORTED_MEDIA_TYPE, "must be image here"),
        ((Media("", PNG.data[:-50]),), Reason.MEDIA_UNREADABLE, "input 1 of the job"),
        ((Media("", bytes(32 * 2**20 + 1)),), Reason.INPUT_TOO_LARGE, "input 1 of a job"),
    ],
    ids=["none", "two", "four", "empty", "wrong type", "sound", "damaged", "large"],
)
async def test_a_job_whose_inputs_do_not_fit_is_refused_before_any_step(
    decoder: DiffusionDecoder, model: WatchedModel, inputs: tuple[Media, ...], reason: Reason, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        await events(decoder, job(decoder.modality, inputs=inputs))
    assert caught.value.reason is reason
    assert not model.steps
    assert decoder._engine.idle


async def test_a_decoder_without_inputs_refuses_an_input(folder: Path) -> None:
    decoder = load_decoder(tiny.bundle(folder), "video")
    with pytest.raises(RequestError, match="the video decoder takes no inputs, but the job has 1"):
        await events(decoder, job("video", inputs=(PNG,)))
    decoder.close()


async def test_a_picture_is_scaled_until_it_fills_the_size_and_cut_at_its_longer_side(
    decoder: DiffusionDecoder,
) -> None:
    fitted = fit_picture(PICTURE, *decoder._model.picture_size)
    results = [
        await media(decoder, job(decoder.modality, inputs=(Media("", data),)))
        for data in (picture_file("PNG"), picture_file("PNG", fitted), picture_file("PNG", PICTURE[:, ::-1]))
    ]
    assert results[0] == results[1] != results[2]
    striped = np.zeros((10, 30, 3), np.uint8)
    striped[:, 10:20] = 255
    assert fit_picture(striped, 8, 8).min() > 200


async def test_an_input_of_20_mb_makes_the_same_bytes_embedded_and_served(decoder: DiffusionDecoder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2600, 2600, 3), np.uint8)
    large = job(decoder.modality, inputs=(Media("image/png", picture_file("PNG", noise, compress_level=0)),), steps=1)
    assert len(large.inputs[0].data) > 20_000_000
    async with served(decoder) as (_, channel):
        remote = [event async for event in RemoteDecoder(channel).decode(large, Deadline.after(50))]
    assert remote == [Progress(1, 1), await media(decoder, large)]


@pytest.mark.parametrize("modality", ["animation", "edit"])
async def test_jobs_of_one_batch_return_what_single_jobs_return(make_decoder: MakeDecoder, modality: str) -> None:
    jobs = [job(modality, seed, inputs=(picture,)) for seed, picture in enumerate((PNG, OTHER, PNG))]
    single, _ = make_decoder(CostCurve(), modality)
    expected = [await media(single, each) for each in jobs]
    decoder, model = make_decoder(measured(4), modality)

    assert await run_together(decoder, model, jobs) == expected
    assert max(model.batch_sizes) > 1


async def test_guidance_previews_and_steps_work_with_an_input(decoder: DiffusionDecoder) -> None:
    first = job(decoder.modality)
    received = await events(decoder, replace(first, previews=True, steps=6))
    progress = [event for event in received if isinstance(event, Progress)]
    assert [event.step for event in progress] == [1, 2, 3, 4, 5, 6]
    assert any(event.preview for event in progress)
    plain, guided, other = [
        await media(decoder, each) for each in (first, replace(first, guidance=1.0), replace(first, inputs=(OTHER,)))
    ]
    assert len({plain.data, guided.data, other.data}) == 3


@pytest.mark.parametrize("modality", ["animation", "edit"])
async def test_a_short_deadline_reduces_the_steps_of_a_job_with_inputs(
    make_decoder: MakeDecoder, clock: Clock, modality: str
) -> None:
    curve = measured(1)
    curve.observe(1, 1.0)
    decoder, _ = make_decoder(curve, modality)
    received = await events(decoder, job(modality, steps=20, min_steps=5), Deadline.after(10))
    assert received[:-1] == [Progress(step, 9) for step in range(1, 10)]


class HeldReading:
    """The reading of a picture that does not end, and records its cancellation."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False

    async def __call__(self, media: Media, *, tenant: str) -> Any:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_a_cancelled_job_stops_the_reading_of_its_inputs(
    decoder: DiffusionDecoder, model: WatchedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = HeldReading()
    monkeypatch.setattr(decoder_module, "decode_picture", reading)
    task = asyncio.create_task(events(decoder, job(decoder.modality)))
    await reading.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reading.cancelled
    assert not model.steps


async def test_a_deadline_stops_the_reading_of_the_inputs(
    decoder: DiffusionDecoder, model: WatchedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = HeldReading()
    monkeypatch.setattr(decoder_module, "decode_picture", reading)
    with pytest.raises(DeadlineError, match="reading its inputs"):
        await events(decoder, job(decoder.modality), Deadline.after(0.05))
    assert reading.cancelled
    assert not model.steps


async def test_sixteen_animations_of_one_picture_are_those_of_single_jobs(folder: Path) -> None:
    decoder = load_decoder(tiny.bundle(folder), "animation")
    jobs = [job("animation", seed, steps=1) for seed in range(16)]
    together = await asyncio.gather(*(media(decoder, each) for each in jobs))
    assert len(set(together)) == 16
    assert [await media(decoder, each) for each in jobs[:2]] == together[:2]
    decoder.close()
