"""The three kinds of diffusion model, without a decoder worker."""

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
from motet.models.model_folder import ModelFolder
from tests.models.diffusion import tiny_decoders as tiny


@pytest.fixture
def decoders(folder: Path) -> Path:
    """The folder of the tiny decoders."""
    return folder / "decoders"


def components(folder: Path, scheduler: Any = None, **options: float) -> dict[str, Any]:
    return {
        "unet": loading.load_component(ModelFolder.unlisted(folder / "unet")),
        "vae": loading.load_component(ModelFolder.unlisted(folder / "vae")),
        "scheduler": scheduler or loading.load_scheduler(ModelFolder.unlisted(folder / "scheduler")),
        "unconditional": torch.zeros(tiny.CONDITIONING[folder.name]),
        "options": options,
    }


def decode(model: Any, seed: int = 1, steps: int = 2) -> Array:
    state = model.prepare(torch.ones_like(model.unconditional), seed, steps, 3.0)
    while state.step < state.total:
        model.step(state)
    result: Array = model.finish(state)
    return result


def test_the_default_size_of_a_picture_is_the_size_of_the_training(decoders: Path) -> None:
    assert decode(StableDiffusion(**components(decoders / "image"))).shape == (16, 16, 3)


def test_the_options_set_the_size_of_a_picture(decoders: Path) -> None:
    assert decode(StableDiffusion(**components(decoders / "image", height=32, width=16))).shape == (32, 16, 3)


@pytest.mark.parametrize("frames", [1, 3])
def test_the_options_set_the_number_of_frames_of_a_clip(decoders: Path, frames: int) -> None:
    assert decode(TextToVideo(**components(decoders / "video", frames=frames))).shape == (frames, 8, 8, 3)


def test_the_options_set_the_exact_length_of_a_sound(decoders: Path) -> None:
    vocoder = loading.load_component(ModelFolder.unlisted(decoders / "audio" / "vocoder"))
    assert decode(AudioLDM(vocoder, **components(decoders / "audio", seconds=0.25))).shape == (4000,)
    assert decode(AudioLDM(vocoder, **components(decoders / "audio"))).shape == (4 * 2 * 160,)


@pytest.mark.parametrize("offset", [0, 1])
def test_the_number_of_timesteps_is_the_maximum_number_of_steps(decoders: Path, offset: int) -> None:
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, steps_offset=offset, clip_sample=False)
    model = StableDiffusion(**components(decoders / "image", scheduler))
    state = model.prepare(torch.ones_like(model.unconditional), 1, 20, 3.0)
    assert state.scheduler.timesteps.tolist() == list(reversed(range(20)))
    assert decode(model, steps=20).shape == (16, 16, 3)


def test_more_steps_than_timesteps_are_refused(decoders: Path) -> None:
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False)
    with pytest.raises(RequestError, match="at most 20 steps, not 21"):
        decode(StableDiffusion(**components(decoders / "image", scheduler)), steps=21)


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
def test_the_seed_alone_decides_the_result_with_any_scheduler(decoders: Path, kind: str) -> None:
    model = StableDiffusion(**components(decoders / "image", getattr(diffusers, kind)()))
    results = [decode(model, seed, 4) for seed in (1, 1, 2)]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_interleaved_jobs_do_not_affect_each_other(decoders: Path) -> None:
    model = StableDiffusion(**components(decoders / "image", diffusers.PNDMScheduler()))
    conditioning = torch.ones_like(model.unconditional)
    states = [model.prepare(conditioning, seed, 4, 3.0) for seed in (1, 2)]
    for _ in range(states[0].total):
        for state in states:
            model.step(state)
    assert np.array_equal(model.finish(states[0]), decode(model, 1, 4))
    assert np.array_equal(model.finish(states[1]), decode(model, 2, 4))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler", "EulerAncestralDiscreteScheduler"])
@pytest.mark.parametrize(("modality", "cls"), [("image", StableDiffusion), ("video", TextToVideo)])
def test_jobs_of_one_batch_differ_from_single_jobs_by_float_error_only(
    decoders: Path, kind: str, modality: str, cls: Any
) -> None:
    model = cls(**components(decoders / modality, getattr(diffusers, kind)()))
    conditioning = [torch.full_like(model.unconditional, float(seed)) for seed in range(3)]

    def states() -> list[Any]:
        return [model.prepare(conditioning[n], n, 6 + n, (3.0, 1.0, 5.0)[n]) for n in range(3)]

    batched, single = states(), states()
    model.step(batched[2])
    while running := [state for state in batched if state.step < state.total]:
        model.step(*running)
    for one, other in zip(batched, single, strict=True):
        while other.step < other.total:
            model.step(other)
        assert (one.latents - other.latents).abs().max() <= 1e-4 * other.latents.abs().max().clamp(min=1)


def test_without_guidance_only_the_conditional_row_is_computed(decoders: Path) -> None:
    model = StableDiffusion(**components(decoders / "image"))
    conditioning = torch.ones_like(model.unconditional)
    assert len(model.prepare(conditioning, 1, 2, 1.0).embeddings) == 1
    assert len(model.prepare(conditioning, 1, 2, 1.5).embeddings) == 2


def test_the_length_of_the_conditioning_vector_of_a_sound_has_no_effect(decoders: Path) -> None:
    model = AudioLDM(
        loading.load_component(ModelFolder.unlisted(decoders / "audio" / "vocoder")), **components(decoders / "audio")
    )
    noisy, timesteps = torch.randn(1, *model.shape), torch.tensor([500])
    vector = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(
            model._predict(noisy, timesteps, vector), model._predict(noisy, timesteps, 7 * vector), atol=1e-6
        )


def test_a_frame_ramp_distinguishes_the_frames_and_a_height_of_zero_adds_none(decoders: Path) -> None:
    noisy = torch.zeros(2, 4, 3, 1, 1)
    assert add_frame_ramp(noisy, 0.0) is noisy
    ramped = add_frame_ramp(noisy, 2.0)
    assert ramped[1, 0].flatten().tolist() == [0, 0, 0]
    assert ramped[1, 3].flatten().tolist() == [-2, 0, 2]
    plain, with_ramp = (
        decode(TextToVideo(**components(decoders / "video", frames=3, frame_ramp=height))) for height in (0, 2)
    )
    assert not np.array_equal(plain, with_ramp)
