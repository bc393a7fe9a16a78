"""The decoder worker, with tiny models and random weights."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError, FaultError, Reason, RequestError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import Progress
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from tests.models.diffusion import tiny_decoders as tiny
from tests.models.diffusion.conftest import Clock
from tests.models.diffusion.watched_model import WatchedModel, events, job, media
from tests.waiting import until

STEPS = 4


@pytest.fixture(scope="module", params=["image", "audio", "video", "animation", "edit"])
def decoder(request: pytest.FixtureRequest, folder: Path) -> Iterator[DiffusionDecoder]:
    decoder = load_decoder(tiny.bundle(folder), request.param)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def image_decoder(folder: Path) -> Iterator[DiffusionDecoder]:
    decoder = load_decoder(tiny.bundle(folder), "image")
    yield decoder
    decoder.close()


@pytest.fixture
def model(image_decoder: DiffusionDecoder, monkeypatch: pytest.MonkeyPatch) -> WatchedModel:
    """The watched model of the image decoder."""
    model = WatchedModel(image_decoder._engine._model)
    monkeypatch.setattr(image_decoder._engine, "_model", model)
    return model


@pytest.fixture
def image_folder(folder: Path, tmp_path: Path) -> Path:
    """The folder of the image decoder in a copy of the bundle, which the test may change."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "decoders" / "image"


async def test_each_step_sends_its_progress_and_the_media_are_last(decoder: DiffusionDecoder) -> None:
    received = await events(decoder, job(decoder.modality))
    assert received[:-1] == [Progress(step, STEPS) for step in range(1, STEPS + 1)]
    assert isinstance(received[-1], Media)
    modalities = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}
    media_types = modalities | {"animation": "video/mp4", "edit": "image/png"}
    assert received[-1].media_type == media_types[decoder.modality]


async def test_equal_jobs_return_equal_bytes_and_another_seed_returns_others(decoder: DiffusionDecoder) -> None:
    first = job(decoder.modality)
    results = [await media(decoder, each) for each in (first, first, replace(first, seed=2))]
    assert results[0] == results[1]
    assert results[0] != results[2]


async def test_concurrent_jobs_return_what_single_jobs_return(image_decoder: DiffusionDecoder) -> None:
    jobs = [job(seed=seed) for seed in (1, 2)]
    expected = [await media(image_decoder, each) for each in jobs]
    assert await asyncio.gather(*(media(image_decoder, each) for each in jobs)) == expected


async def test_guidance_changes_the_result_and_a_guidance_of_one_is_valid(image_decoder: DiffusionDecoder) -> None:
    results = [await media(image_decoder, job(guidance=guidance)) for guidance in (1.0, 1.0, 5.0)]
    assert results[0] == results[1]
    assert results[0] != results[2]


async def test_a_preview_is_a_small_jpeg_and_is_sent_only_on_request(image_decoder: DiffusionDecoder) -> None:
    plain = await events(image_decoder, job())
    assert all(event.preview is None for event in plain if isinstance(event, Progress))
    received = await events(image_decoder, job(previews=True))
    previews = [event.preview for event in received if isinstance(event, Progress) and event.preview]
    assert len(previews) == STEPS - 1
    assert {preview.media_type for preview in previews} == {"image/jpeg"}
    assert received[-1] == plain[-1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "smell"}, Reason.MODALITY_NOT_SUPPORTED),
        ({"conditioning": Tensor("float32", (1, 8), bytes(32))}, Reason.CONDITIONING_INVALID),
        ({"conditioning": Tensor("uint8", (4, 8), bytes(32))}, Reason.CONDITIONING_INVALID),
        ({"conditioning": Tensor("float32", (4, 8), b"\0\0\xc0\x7f" * 32)}, Reason.CONDITIONING_INVALID),
        ({"steps": 0}, Reason.INVALID_REQUEST),
        ({"steps": 1001}, Reason.INVALID_REQUEST),
        ({"min_steps": 0}, Reason.INVALID_REQUEST),
        ({"guidance": 0.5}, Reason.INVALID_REQUEST),
        ({"guidance": float("nan")}, Reason.INVALID_REQUEST),
        ({"guidance": 1e308}, Reason.INVALID_REQUEST),
        ({"guidance": float("inf")}, Reason.INVALID_REQUEST),
        ({"min_steps": 1001}, Reason.INVALID_REQUEST),
        ({"priority": 3}, Reason.INVALID_REQUEST),
    ],
)
async def test_an_invalid_job_is_refused_before_any_step(
    image_decoder: DiffusionDecoder, model: WatchedModel, changes: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(RequestError) as raised:
        await events(image_decoder, job(**changes))
    assert raised.value.reason is reason
    assert not model.steps


async def test_a_cancelled_task_takes_no_step_after_the_current_one(
    image_decoder: DiffusionDecoder, model: WatchedModel
) -> None:
    model.hold()
    task = asyncio.create_task(events(image_decoder, job(steps=50)))
    await model.begun(1)
    model.allow(1)
    await model.begun(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    model.release()
    await until(lambda: image_decoder._engine.idle)
    assert len(model.steps) == 2


async def test_a_closed_generator_takes_no_step_after_the_current_one(
    image_decoder: DiffusionDecoder, model: WatchedModel
) -> None:
    model.hold()
    stream = image_decoder.decode(job(steps=50), Deadline.never())
    first = asyncio.ensure_future(anext(stream))
    await model.begun(1)
    model.allow(1)
    assert await first == Progress(1, 50)
    await model.begun(2)
    await stream.aclose()  # type: ignore[attr-defined]
    model.release()
    await until(lambda: image_decoder._engine.idle)
    assert len(model.steps) == 2


async def test_a_deadline_stops_a_job_between_two_steps(
    image_decoder: DiffusionDecoder, model: WatchedModel, clock: Clock
) -> None:
    model.hold()
    task = asyncio.create_task(events(image_decoder, job(steps=50), Deadline.after(10)))
    await model.begun(1)
    model.allow(1)
    await model.begun(2)
    clock.seconds += 11
    model.release()
    with pytest.raises(DeadlineError, match="at step 3 of 50"):
        await task
    assert len(model.steps) == 2


async def test_the_event_loop_runs_during_a_step(image_decoder: DiffusionDecoder, model: WatchedModel) -> None:
    model.hold()
    task = asyncio.create_task(events(image_decoder, job(steps=6)))
    for step in range(1, 7):
        await model.begun(step)
        assert not task.done()
        model.allow(1)
    assert isinstance((await task)[-1], Media)


async def test_a_result_that_is_not_finite_is_a_fault(
    image_decoder: DiffusionDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = image_decoder._engine._model.unet.conv_out.bias  # type: ignore[attr-defined]
    monkeypatch.setattr(bias, "data", bias / 0.0)
    with pytest.raises(FaultError, match="not finite"):
        await events(image_decoder, job())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("unconditional.safetensors", "decoders/image/unconditional.safetensors is missing"),
        ("unet/config.json", "image/unet/config.json is missing"),
        ("vae/diffusion_pytorch_model.safetensors", "image/vae/diffusion_pytorch_model.safetensors is missing"),
        ("scheduler/scheduler_config.json", "image/scheduler/scheduler_config.json is missing"),
    ],
)
def test_the_error_for_a_missing_file_names_the_file(image_folder: Path, file: str, message: str) -> None:
    (image_folder / file).unlink()
    with pytest.raises(BundleError, match=message):
        load_decoder(tiny.bundle(image_folder.parent.parent), "image")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("unet/config.json", b"{", "is not JSON"),
        ("unet/config.json", b'{"_class_name": "os.system"}', "names the class 'os.system'"),
        ("scheduler/scheduler_config.json", b'{"_class_name": "StableDiffusionPipeline"}', "is not a scheduler"),
        ("unet/diffusion_pytorch_model.safetensors", b"half", "is not a valid safetensors file"),
        ("unconditional.safetensors", b"half", "is not a valid safetensors file"),
    ],
)
def test_the_error_for_an_altered_file_names_the_file(
    image_folder: Path, file: str, content: bytes, message: str
) -> None:
    (image_folder / file).write_bytes(content)
    with pytest.raises(BundleError, match=f"{file}.*{message}"):
        load_decoder(tiny.bundle(image_folder.parent.parent), "image")


def test_the_error_for_weights_of_another_network_names_the_file(image_folder: Path) -> None:
    weights = "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(image_folder.parent / "video" / weights, image_folder / weights)
    with pytest.raises(BundleError, match=f"image/{weights} has .* missing parameters"):
        load_decoder(tiny.bundle(image_folder.parent.parent), "image")


def test_an_unknown_kind_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(BundleError, match="'crystal-ball'") as raised:
        load_decoder(tiny.bundle(folder, kind="crystal-ball"), "image")
    assert raised.value.message.endswith(
        "known are stable-diffusion, text-to-video-sd, audioldm, image-to-image, image-to-video, "
        "image-to-video-blank, mux"
    )


def test_a_shared_component_is_loaded_from_the_folder_in_the_manifest(image_folder: Path) -> None:
    shutil.move(image_folder / "vae", image_folder.parent / "vae")
    bundle = tiny.bundle(image_folder.parent.parent)
    with pytest.raises(BundleError, match="vae/config.json is missing"):
        load_decoder(bundle, "image")
    bundle.manifest.decoders["image"].shared["vae"] = "decoders/vae"
    load_decoder(bundle, "image").close()
