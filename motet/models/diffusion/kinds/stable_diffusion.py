"""Pictures."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from motet.models.diffusion.kinds.base import LatentDiffusion
from motet.models.diffusion.model import Array, DenoisingState


class StableDiffusion(LatentDiffusion):
    """Pictures: a 2D U-Net that reads the conditioning by cross-attention, and an autoencoder.

    Options: `height` and `width` in pixels; without them, what the U-Net was trained for.
    """

    media: ClassVar[str] = "picture"

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        size = self.unet.config.sample_size
        trained = (size, size) if isinstance(size, int) else tuple(size)
        sides = [self.options.get(name, 0) // self._shrinks for name in ("height", "width")]
        return (self.unet.config.in_channels, *(int(side or own) for side, own in zip(sides, trained, strict=True)))

    @torch.inference_mode()
    def preview(self, guess: Tensor) -> Array | None:
        """The picture."""
        picture: Array = self._pixels(guess)[0]
        return picture

    @torch.inference_mode()
    def finish(self, song: DenoisingState) -> Array:
        """uint8 (height, width, 3)."""
        picture: Array = self._pixels(song.latents)[0]
        return picture
