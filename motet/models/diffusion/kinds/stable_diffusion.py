"""The kind `stable-diffusion`, which makes pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from motet.core.media import Media
from motet.media import encode
from motet.models.diffusion.kinds.base import LatentDiffusion
from motet.models.diffusion.model import Array, DenoisingState


class StableDiffusion(LatentDiffusion):
    """Pictures, from a 2D U-Net with cross-attention to the conditioning, and an autoencoder.

    Options: `height` and `width` in pixels. Their defaults are the size that the U-Net was trained for.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (channels, height, width) of the latents."""
        size = self.unet.config.sample_size
        trained = (size, size) if isinstance(size, int) else tuple(size)
        sides = [self.options.get(name, 0) // self._vae_scale_factor for name in ("height", "width")]
        shape = (int(side or default) for side, default in zip(sides, trained, strict=True))
        return (self.unet.config.in_channels, *shape)

    @torch.inference_mode()
    def preview(self, pred_original_sample: Tensor) -> Array | None:
        """Return the estimated picture, uint8 (height, width, 3)."""
        picture: Array = self._to_pixels(pred_original_sample)[0]
        return picture

    @torch.inference_mode()
    def finish(self, state: DenoisingState) -> Array:
        """Return the picture, uint8 (height, width, 3)."""
        picture: Array = self._to_pixels(state.latents)[0]
        return picture

    def to_media(self, array: Array) -> Media:
        """Encode the picture as a file."""
        return encode.encode_picture(array)
