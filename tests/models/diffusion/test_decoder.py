"""The decoder worker, on tiny random models that the tests make."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError, FaultError, Reason, RequestError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Progress
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from tests.models.diffusion import tiny_decoders as tiny

torch.set_num_threads(1)
STEPS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    tiny.write(place)
    return place


@pytest.fixture(scope="module", params=["image", "audio", "video"])
def made(request: pytest.FixtureRequest, folder: Path) -> Iterator[DiffusionDecoder]:
    decoder = load_decoder(tiny.bundle(folder), request.param)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def painter(folder: Path) -> Iterator[DiffusionDecoder]:
    decoder = load_decoder(tiny.bundle(folder), "image")
    yield decoder
    decoder.close()


@pytest.fixture
def spoilt(folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil; the picture decoder's folder."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "decoders" / "image"


def job(modality: str = "image", seed: int = 1, **changes: Any) -> DecodeJob:
    shape = tuple(tiny.CONDITIONING.get(modality, [4, 8]))
    numbers = np.random.default_rng(5).standard_normal(shape).astype("<f4")
    return replace(DecodeJob(modality, Tensor("float32", shape, numbers.tobytes()), seed, steps=STEPS), **changes)


async def events(decoder: DiffusionDecoder, wanted: DecodeJob) -> list[Progress | Media]:
    return [event async for event in decoder.decode(wanted, Deadline.never())]


async def test_every_step_is_told_and_the_media_come_last(made: DiffusionDecoder) -> None:
    heard = await events(made, job(made.modality))
    assert heard[:-1] == [Progress(step, STEPS) for step in range(1, STEPS + 1)]
    assert isinstance(heard[-1], Media)
    assert heard[-1].media_type == {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}[made.modality]


async def test_equal_jobs_make_equal_bytes_and_another_seed_makes_others(made: DiffusionDecoder) -> None:
    wanted = job(made.modality)
    first, again, other = [(await events(made, each))[-1] for each in (wanted, wanted, replace(wanted, seed=2))]
    assert first == again
    assert first != other


async def test_jobs_at_the_same_time_make_what_each_makes_alone(painter: DiffusionDecoder) -> None:
    jobs = [job(seed=seed) for seed in (1, 2)]
    alone = [(await events(painter, each))[-1] for each in jobs]
    together = await asyncio.gather(*(events(painter, each) for each in jobs))
    assert [heard[-1] for heard in together] == alone


async def test_guidance_changes_the_result_and_one_is_none(painter: DiffusionDecoder) -> None:
    results = [(await events(painter, job(guidance=guidance)))[-1] for guidance in (1.0, 1.0, 5.0)]
    assert results[0] == results[1]
    assert results[0] != results[2]


async def test_a_preview_is_a_small_jpeg_and_comes_only_when_asked_for(painter: DiffusionDecoder) -> None:
    silent = await events(painter, job())
    assert all(event.preview is None for event in silent if isinstance(event, Progress))
    heard = await events(painter, job(previews=True))
    previews = [event.preview for event in heard if isinstance(event, Progress) and event.preview]
    assert len(previews) == STEPS - 1
    assert {preview.media_type for preview in previews} == {"image/jpeg"}
    assert heard[-1] == silent[-1]


@pytest.mark.parametrize(
    ("broken", "reason"),
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
    ],
)
async def test_a_job_it_cannot_do_is_refused_before_any_step(
    painter: DiffusionDecoder, broken: dict[str, Any], reason: Reason
) -> None:
    with pytest.raises(RequestError) as raised:
        await events(painter, job(**broken))
    assert raised.value.reason is reason


class Slow:
    """Stands around a singer, counts its steps, and makes each last at least 50 ms."""

    def __init__(self, singer: Any) -> None:
        self.singer, self.steps = singer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.singer, name)

    def predict(self, songs: Any) -> Any:
        self.steps += 1
        time.sleep(0.05)
        return self.singer.predict(songs)


@pytest.fixture
def slow(painter: DiffusionDecoder, monkeypatch: pytest.MonkeyPatch) -> Slow:
    singer = Slow(painter._choir._singer)
    monkeypatch.setattr(painter._choir, "_singer", singer)
    return singer


async def test_a_cancelled_task_stops_within_one_step(painter: DiffusionDecoder, slow: Slow) -> None:
    task = asyncio.create_task(events(painter, job(steps=50)))
    while slow.steps < 2:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    begun = slow.steps
    await asyncio.sleep(0.15)
    assert slow.steps <= begun + 1


async def test_a_closed_generator_takes_no_step_but_the_one_that_has_begun(
    painter: DiffusionDecoder, slow: Slow
) -> None:
    stream = painter.decode(job(steps=50), Deadline.never())
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0.15)
    assert slow.steps <= 2


async def test_a_deadline_stops_it_between_two_steps(painter: DiffusionDecoder, slow: Slow) -> None:
    with pytest.raises(DeadlineError, match="at step"):
        async for _ in painter.decode(job(steps=50), Deadline.after(0.12)):
            pass
    assert 1 <= slow.steps <= 3


async def test_the_event_loop_turns_while_it_computes(painter: DiffusionDecoder, slow: Slow) -> None:
    task = asyncio.create_task(events(painter, job(steps=6)))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > slow.steps


async def test_a_result_that_is_not_finite_is_a_fault(
    painter: DiffusionDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = painter._choir._singer.unet.conv_out.bias  # type: ignore[attr-defined]
    monkeypatch.setattr(bias, "data", bias / 0.0)
    with pytest.raises(FaultError, match="not finite"):
        await events(painter, job())


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("unconditional.safetensors", "decoders/image/unconditional.safetensors is missing"),
        ("unet/config.json", "image/unet/config.json is missing"),
        ("vae/diffusion_pytorch_model.safetensors", "image/vae/diffusion_pytorch_model.safetensors is missing"),
        ("scheduler/scheduler_config.json", "image/scheduler/scheduler_config.json is missing"),
    ],
)
def test_a_missing_file_is_named(spoilt: Path, file: str, told: str) -> None:
    (spoilt / file).unlink()
    with pytest.raises(BundleError, match=told):
        load_decoder(tiny.bundle(spoilt.parent.parent), "image")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("unet/config.json", b"{", "is not JSON"),
        ("unet/config.json", b'{"_class_name": "os.system"}', "names the class 'os.system'"),
        ("scheduler/scheduler_config.json", b'{"_class_name": "StableDiffusionPipeline"}', "is no scheduler"),
        ("unet/diffusion_pytorch_model.safetensors", b"half", "is not a whole safetensors file"),
        ("unconditional.safetensors", b"half", "is not a whole safetensors file"),
    ],
)
def test_an_altered_file_is_named(spoilt: Path, file: str, content: bytes, told: str) -> None:
    (spoilt / file).write_bytes(content)
    with pytest.raises(BundleError, match=told):
        load_decoder(tiny.bundle(spoilt.parent.parent), "image")


def test_weights_of_another_network_are_refused_by_name(spoilt: Path) -> None:
    weights = "unet/diffusion_pytorch_model.safetensors"
    shutil.copy(spoilt.parent / "video" / weights, spoilt / weights)
    with pytest.raises(BundleError, match=f"image/{weights} does not fit"):
        load_decoder(tiny.bundle(spoilt.parent.parent), "image")


def test_an_unknown_kind_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match="crystal-ball"):
        load_decoder(tiny.bundle(folder, kind="crystal-ball"), "image")


def test_a_shared_component_is_taken_from_where_the_manifest_says(spoilt: Path) -> None:
    shutil.move(spoilt / "vae", spoilt.parent / "vae")
    bundle = tiny.bundle(spoilt.parent.parent)
    with pytest.raises(BundleError, match="vae/config.json is missing"):
        load_decoder(bundle, "image")
    bundle.manifest.decoders["image"].shared["vae"] = "decoders/vae"
    load_decoder(bundle, "image").close()
