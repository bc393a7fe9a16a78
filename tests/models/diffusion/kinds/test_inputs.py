"""The kinds that take a picture: their arithmetic is that of diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from motet.core.errors import RequestError
from motet.models.diffusion import loading
from motet.models.diffusion.kinds.image_to_image import ImageToImage
from motet.models.diffusion.kinds.image_to_video import (
    BlankImageToVideo,
    ImageToVideo,
    add_first_frame,
    add_positions,
)
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.diffusion.model import DenoisingState
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.models.model_folder import ModelFolder
from tests.models.diffusion import tiny_decoders as tiny

PICTURE = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
SMALL_PICTURE = PICTURE[:8, :8]
SCHEDULERS: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {"clip_sample": False},
    "PNDMScheduler": {"skip_prk_steps": True},
    "EulerDiscreteScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "DPMSolverMultistepScheduler": {},
    "UniPCMultistepScheduler": {},
}


def model_of(cls: Any, folder: Path, modality: str, scheduler: Any = None, **options: float) -> Any:
    path = folder / "decoders" / modality
    return cls(
        unet=loading.load_component(ModelFolder.unlisted(path / "unet")),
        vae=loading.load_component(ModelFolder.unlisted(path / "vae")),
        scheduler=scheduler or loading.load_scheduler(ModelFolder.unlisted(path / "scheduler")),
        unconditional=torch.zeros(tiny.CONDITIONING[modality]),
        options=options,
    )


def conditioning() -> torch.Tensor:
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(5))


def run(model: Any, state: DenoisingState) -> DenoisingState:
    while state.step < state.total:
        model.step(state)
    return state


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "strength", "steps", "length"),
    [
        ("DDIMScheduler", 0.5, 4, 8),
        ("DDIMScheduler", 0.33, 2, 7),
        ("DDIMScheduler", 1.0, 2, 2),
        *((kind, 0.75, 3, 4) for kind in SCHEDULERS),
    ],
)
def test_image_to_image_computes_the_latents_of_diffusers(
    folder: Path, kind: str, strength: float, steps: int, length: int
) -> None:
    scheduler = getattr(diffusers, kind)(steps_offset=1, **SCHEDULERS[kind])
    model = model_of(ImageToImage, folder, "edit", scheduler, strength=strength)
    state = run(model, model.prepare(conditioning(), 1, steps, 3.0, [PICTURE]))

    pipeline = diffusers.StableDiffusionImg2ImgPipeline(
        model.vae, None, None, model.unet, type(scheduler).from_config(scheduler.config), None, None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt_embeds=conditioning()[None],
        negative_prompt_embeds=model.unconditional[None],
        image=Image.fromarray(PICTURE),
        strength=strength,
        num_inference_steps=length,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
    ).images

    assert (state.latents - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.3, 0.6, 0.7, 0.8, 0.99, 1.0])
def test_image_to_image_takes_the_steps_of_the_job_at_any_strength(folder: Path, strength: float) -> None:
    model = model_of(ImageToImage, folder, "edit", strength=strength)
    for steps in (1, 2, 3, 5, 7, 10):
        assert model.prepare(conditioning(), 1, steps, 3.0, [PICTURE]).total == steps


def test_image_to_image_refuses_more_steps_than_the_strength_leaves(folder: Path) -> None:
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False)
    model = model_of(ImageToImage, folder, "edit", scheduler, strength=0.5)
    assert model.prepare(conditioning(), 1, 10, 3.0, [PICTURE]).total == 10
    with pytest.raises(RequestError, match="at most 10 steps, not 11"):
        model.prepare(conditioning(), 1, 11, 3.0, [PICTURE])


def test_a_lower_strength_keeps_more_of_the_picture(folder: Path) -> None:
    changes = []
    for strength in (0.05, 0.5, 1.0):
        model = model_of(ImageToImage, folder, "edit", strength=strength)
        state = run(model, model.prepare(conditioning(), 1, 4, 1.0, [PICTURE]))
        changes.append(float((state.latents - model._encode(PICTURE)).abs().mean()))
    assert changes == sorted(changes)
    assert changes[0] < changes[2] / 2


def test_image_to_video_computes_what_the_networks_of_diffusers_compute(folder: Path) -> None:
    model = model_of(ImageToVideo, folder, "animation", frames=3)
    state = run(model, model.prepare(conditioning(), 1, 4, 3.0, [SMALL_PICTURE]))

    pixels = torch.from_numpy(SMALL_PICTURE).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.inference_mode():
        frame = model.vae.encode(pixels).latent_dist.mode() * model.vae.config.scaling_factor
        latents = torch.randn(1, 4, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        scheduler = diffusers.DDIMScheduler(clip_sample=False)
        scheduler.set_timesteps(4)
        for timestep in scheduler.timesteps:
            network_input = torch.cat([latents, frame[:, :, None].repeat(1, 1, 3, 1, 1)], dim=1)
            embeddings = torch.stack([model.unconditional, conditioning()])
            outputs = model.unet(network_input.repeat(2, 1, 1, 1, 1), timestep, embeddings).sample
            output = outputs[:1] + 3.0 * (outputs[1:] - outputs[:1])
            latents = scheduler.step(output, timestep, latents).prev_sample

    assert torch.allclose(state.latents, latents, atol=1e-5)


def test_image_to_video_adds_the_picture_to_a_residual_in_the_clip_and_its_previews(folder: Path) -> None:
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    plain, residual = (
        model_of(ImageToVideo, folder, "animation", scheduler, frames=3, residual=value) for value in (0, 1)
    )
    states = [model.prepare(conditioning(), 1, 2, 3.0, [SMALL_PICTURE]) for model in (plain, residual)]
    for model, state in zip((plain, residual), states, strict=True):
        model.step(state)
    frame = residual._encode(SMALL_PICTURE)[:, :, None]

    difference = states[1].pred_original_sample - states[0].pred_original_sample
    torch.testing.assert_close(difference, frame.expand_as(difference))
    run(plain, states[0])
    run(residual, states[1])
    assert torch.equal(states[0].latents, states[1].latents), "the network's input has no added picture"
    states[0].latents = states[0].latents + frame
    assert np.array_equal(residual.finish(states[1]), plain.finish(states[0]))


def test_image_to_video_with_a_network_that_ignores_the_picture_is_text_to_video(folder: Path) -> None:
    model = model_of(ImageToVideo, folder, "animation", frames=3, frame_ramp=1.0)
    twin = model_of(TextToVideo, folder, "video", frames=3, frame_ramp=1.0)
    weights = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].clone()
    twin.unet.load_state_dict(weights)
    with torch.no_grad():
        model.unet.conv_in.weight[:, 4:] = 0
    state = run(model, model.prepare(conditioning(), 1, 3, 3.0, [SMALL_PICTURE]))
    expected = run(twin, twin.prepare(conditioning(), 1, 3, 3.0))

    assert torch.allclose(state.latents, expected.latents, atol=1e-5)


def test_the_networks_of_image_to_video_make_clips_without_a_picture(folder: Path) -> None:
    model = model_of(BlankImageToVideo, folder, "animation", frames=3, frame_ramp=1.0)
    twin = model_of(TextToVideo, folder, "video", frames=3, frame_ramp=1.0)
    weights = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    # The channels of the picture have no effect if the picture is 0.
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].clone()
    twin.unet.load_state_dict(weights)
    state = run(model, model.prepare(conditioning(), 1, 3, 3.0))
    expected = run(twin, twin.prepare(conditioning(), 1, 3, 3.0))

    assert torch.allclose(state.latents, expected.latents, atol=1e-5)


def test_positions_tell_each_place_of_a_frame_from_all_others() -> None:
    channels = torch.zeros(2, 3, 4, 5, 6)
    positions = add_positions(channels, 2)[:, 3:]

    assert add_positions(channels, 0) is channels
    assert positions.shape == (2, 8, 4, 5, 6)
    assert torch.equal(positions, positions[:1, :, :1].expand_as(positions)), "all frames have the same"
    places = positions[0, :, 0].flatten(1).T
    assert torch.pdist(places).min() > 0.1
    # The first frequency has half a period per side: the sine rises from top to bottom, and from left to right.
    assert (positions[0, 0, 0].diff(dim=0) > 0).all()
    assert (positions[0, 2, 0].diff(dim=1) > 0).all()


@pytest.mark.parametrize("kind", [ImageToVideo, BlankImageToVideo])
def test_the_network_gets_the_positions_last(kind: Any, folder: Path) -> None:
    model = model_of(kind, folder, "animation", frames=3, position_frequencies=1)
    wider = torch.nn.Conv2d(12, model.unet.conv_in.out_channels, 3, padding=1)
    with torch.no_grad():
        wider.weight.zero_()
        wider.weight[:, :8], wider.bias[:] = model.unet.conv_in.weight, model.unet.conv_in.bias
    twin = model_of(kind, folder, "animation", frames=3)
    model.unet.conv_in = wider
    inputs = [SMALL_PICTURE] if kind is ImageToVideo else []
    state = run(model, model.prepare(conditioning(), 1, 3, 3.0, inputs))
    expected = run(twin, twin.prepare(conditioning(), 1, 3, 3.0, inputs))

    assert torch.allclose(state.latents, expected.latents, atol=1e-5)
    with torch.no_grad():
        wider.weight[:, 8:] = 1
    changed = run(model, model.prepare(conditioning(), 1, 3, 3.0, inputs))
    assert not torch.allclose(changed.latents, expected.latents, atol=1e-2)


def test_another_picture_makes_another_clip(folder: Path) -> None:
    model = model_of(ImageToVideo, folder, "animation", frames=3)
    latents = [
        run(model, model.prepare(conditioning(), 1, 2, 1.0, [picture])).latents
        for picture in (SMALL_PICTURE, SMALL_PICTURE, 255 - SMALL_PICTURE)
    ]
    assert torch.equal(latents[0], latents[1])
    assert not torch.equal(latents[0], latents[2])


def test_the_first_frame_is_beside_each_frame() -> None:
    noisy, frame = torch.zeros(2, 4, 3, 1, 1), torch.arange(8.0).reshape(2, 4, 1, 1)
    result = add_first_frame(noisy, frame)
    assert result.shape == (2, 8, 3, 1, 1)
    assert result[1, :, 2].flatten().tolist() == [0, 0, 0, 0, 4, 5, 6, 7]


def test_the_latents_of_a_patch_autoencoder_are_scaled_like_those_that_it_decodes(folder: Path) -> None:
    model = model_of(ImageToImage, folder, "edit")
    torch.manual_seed(0)
    model.vae = PatchAutoencoder(latent_channels=12, patch=2, width=0, scaling_factor=3.0).eval()
    latents = model._encode(PICTURE)
    pixels = torch.from_numpy(PICTURE).permute(2, 0, 1)[None] / 255 * 2 - 1
    with torch.no_grad():
        assert torch.allclose(latents, 3.0 * model.vae.encode(pixels), atol=1e-6)
        assert torch.allclose(model._decode_latents(latents), model.vae.decode(latents / 3.0).sample)
