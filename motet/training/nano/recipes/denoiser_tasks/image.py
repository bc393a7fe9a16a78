"""The denoising task of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from motet.training.nano.recipes.autoencoder import linear_autoencoder, load_or_linear, to_pictures, to_tensor
from motet.training.nano.recipes.denoiser_tasks.task import PICTURE_UNET, DenoiserBatch, Sampler, for_cpu
from motet.training.nano.world import pictures
from motet.training.nano.world.world import Thing, things_of_split


class ImageTask:
    """Pictures: nouns upright and near the centre, on eight backgrounds."""

    modality: ClassVar[str] = "image"
    shape: ClassVar[tuple[int, ...]] = (48, 8, 8)
    group_size: ClassVar[int] = 1

    def __init__(self, build: Path) -> None:
        self._folder = build / "autoencoder"
        self._autoencoder = linear_autoencoder().eval()
        self._things = things_of_split(self.modality, False)

    def denoiser(self) -> nn.Module:
        """Return a 2D U-Net of two levels, with cross-attention to the caption in the upper level."""
        return for_cpu(
            UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(128, 192),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                mid_block_type=None,
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                attention_head_dim=4,
                **PICTURE_UNET,
            )
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> DenoiserBatch:
        """Return the latents of 32 pictures, and their captions."""
        things = [self._things[i] for i in rng.integers(len(self._things), size=32)]
        batch = [_picture(thing, rng) for thing in things]
        latents = self._autoencoder.encode(to_tensor(np.stack(batch)))
        return DenoiserBatch(latents, [thing.caption for thing in things])

    def predict(
        self,
        denoiser: nn.Module,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        first_frames: Tensor | None = None,
    ) -> Tensor:
        """Return the output of the U-Net. It takes no first frames."""
        output: Tensor = denoiser(noisy, timesteps, conditioning).sample
        return output

    def sample_sheet(self, sampler: Sampler) -> pictures.Picture:
        """Return a sheet of forty held-out pictures, eight in a row."""
        latents = sampler([thing.caption for thing in things_of_split(self.modality, True)][:40])
        pixels = load_or_linear(self._folder).decode(latents).sample
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in pixels.split(8)], dim=1))


def _picture(thing: Thing, rng: np.random.Generator) -> pictures.Picture:
    # Offsets are few and in whole pixels, because the denoiser learns each subpixel position of an edge separately.
    right, down = rng.integers(-1, 2, 2)
    return pictures.draw(thing.subject, thing.manner, offset=(float(right), float(down)))
