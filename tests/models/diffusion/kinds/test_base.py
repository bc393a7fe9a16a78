"""The three kinds of diffusion model, without a worker around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from motet.core.errors import RequestError
from motet.models.diffusion import loading
from motet.models.diffusion.kinds.audioldm import AudioLDM
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.kinds.text_to_video import TextToVideo, add_frame_ramp
from motet.models.diffusion.model import Array
from tests.models.diffusion import tiny_decoders as tiny

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    tiny.write(place)
    return place / "decoders"


def parts(folder: Path, scheduler: Any = None, **options: float) -> dict[str, Any]:
    return {
        "unet": loading.load_component(folder / "unet"),
        "vae": loading.load_component(folder / "vae"),
        "scheduler": scheduler or loading.load_scheduler(folder / "scheduler"),
        "unconditional": torch.zeros(tiny.CONDITIONING[folder.name]),
        "options": options,
    }


def sing(singer: Any, seed: int = 1, steps: int = 2) -> Array:
    song = singer.prepare(torch.ones_like(singer.unconditional), seed, steps, 3.0)
    while song.step < song.total:
        singer.step(song)
    media: Array = singer.finish(song)
    return media


def test_a_picture_has_the_size_the_network_was_trained_for(folder: Path) -> None:
    assert sing(StableDiffusion(**parts(folder / "image"))).shape == (16, 16, 3)


def test_a_picture_has_the_size_that_is_asked_for(folder: Path) -> None:
    assert sing(StableDiffusion(**parts(folder / "image", height=32, width=16))).shape == (32, 16, 3)


@pytest.mark.parametrize("frames", [1, 3])
def test_a_clip_has_the_frames_that_are_asked_for(folder: Path, frames: int) -> None:
    assert sing(TextToVideo(**parts(folder / "video", frames=frames))).shape == (frames, 8, 8, 3)


def test_a_sound_lasts_as_long_as_is_asked_for_to_the_sample(folder: Path) -> None:
    vocoder = loading.load_component(folder / "audio" / "vocoder")
    assert sing(AudioLDM(vocoder, **parts(folder / "audio", seconds=0.25))).shape == (4000,)
    assert sing(AudioLDM(vocoder, **parts(folder / "audio"))).shape == (4 * 2 * 160,)


@pytest.mark.parametrize("offset", [0, 1])
def test_as_many_steps_can_be_taken_as_there_are_timesteps(folder: Path, offset: int) -> None:
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, steps_offset=offset, clip_sample=False)
    singer = StableDiffusion(**parts(folder / "image", scheduler))
    song = singer.prepare(torch.ones_like(singer.unconditional), 1, 20, 3.0)
    assert song.scheduler.timesteps.tolist() == list(reversed(range(20)))
    assert sing(singer, steps=20).shape == (16, 16, 3)


def test_more_steps_than_there_are_timesteps_are_refused(folder: Path) -> None:
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False)
    with pytest.raises(RequestError, match="at most 20 steps, not 21"):
        sing(StableDiffusion(**parts(folder / "image", scheduler)), steps=21)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "kind",
    [
        "PNDMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "DDPMScheduler",
    ],
)
def test_with_any_scheduler_the_seed_alone_decides(folder: Path, kind: str) -> None:
    singer = StableDiffusion(**parts(folder / "image", getattr(diffusers, kind)()))
    first, again, other = sing(singer, 1, 4), sing(singer, 1, 4), sing(singer, 2, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_songs_that_take_turns_do_not_hear_each_other(folder: Path) -> None:
    singer = StableDiffusion(**parts(folder / "image", diffusers.PNDMScheduler()))
    conditioning = torch.ones_like(singer.unconditional)
    songs = [singer.prepare(conditioning, seed, 4, 3.0) for seed in (1, 2)]
    for _ in range(songs[0].total):
        for song in songs:
            singer.step(song)
    assert np.array_equal(singer.finish(songs[0]), sing(singer, 1, 4))
    assert np.array_equal(singer.finish(songs[1]), sing(singer, 2, 4))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler", "EulerAncestralDiscreteScheduler"])
@pytest.mark.parametrize(("modality", "made"), [("image", StableDiffusion), ("video", TextToVideo)])
def test_songs_of_one_batch_hardly_hear_each_other(folder: Path, kind: str, modality: str, made: Any) -> None:
    singer = made(**parts(folder / modality, getattr(diffusers, kind)()))
    told = [torch.full_like(singer.unconditional, float(seed)) for seed in range(3)]

    def songs() -> list[Any]:
        return [singer.prepare(told[n], n, 6 + n, (3.0, 1.0, 5.0)[n]) for n in range(3)]

    together, alone = songs(), songs()
    singer.step(together[2])
    while left := [song for song in together if song.step < song.total]:
        singer.step(*left)
    for one, other in zip(together, alone, strict=True):
        while other.step < other.total:
            singer.step(other)
        assert (one.latents - other.latents).abs().max() <= 1e-4 * other.latents.abs().max().clamp(min=1)


def test_without_guidance_the_prompt_alone_is_computed(folder: Path) -> None:
    singer = StableDiffusion(**parts(folder / "image"))
    conditioning = torch.ones_like(singer.unconditional)
    assert len(singer.prepare(conditioning, 1, 2, 1.0).embeddings) == 1
    assert len(singer.prepare(conditioning, 1, 2, 1.5).embeddings) == 2


def test_the_length_of_a_sound_s_conditioning_says_nothing(folder: Path) -> None:
    singer = AudioLDM(loading.load_component(folder / "audio" / "vocoder"), **parts(folder / "audio"))
    noisy, times = torch.randn(1, *singer.shape), torch.tensor([500])
    vector = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(
            singer._predict(noisy, times, vector), singer._predict(noisy, times, 7 * vector), atol=1e-6
        )


def test_a_ramp_tells_the_frames_apart_and_is_left_out_for_models_without(folder: Path) -> None:
    noisy = torch.zeros(2, 4, 3, 1, 1)
    assert add_frame_ramp(noisy, 0.0) is noisy
    shown = add_frame_ramp(noisy, 2.0)
    assert shown[1, 0].flatten().tolist() == [0, 0, 0]
    assert shown[1, 3].flatten().tolist() == [-2, 0, 2]
    plain, told = (sing(TextToVideo(**parts(folder / "video", frames=3, frame_ramp=height))) for height in (0, 2))
    assert not np.array_equal(plain, told)
