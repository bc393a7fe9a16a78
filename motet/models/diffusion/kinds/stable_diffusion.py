"""The kind `stable-diffusion`, which makes pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from motet.core.bundle import DecoderEntry
from motet.core.media import Media
from motet.media import encode
from motet.models.config_rules import Rule, either, list_of, one_of, whole
from motet.models.diffusion.kinds.base import LatentDiffusion, channel_rules
from motet.models.diffusion.model import Array, DenoisingState


class StableDiffusion(LatentDiffusion):
    """Pictures, from a 2D U-Net with cross-attention to the conditioning, and an autoencoder.

    Options: `height` and `width` in pixels. Their defaults are the size that the U-Net was trained for.
    """

    networks: ClassVar = {"unet": ("UNet2DConditionModel",), "vae": ("AutoencoderKL", "PatchAutoencoder")}
    media_type: ClassVar = "image/png"
    conditioning: ClassVar = Rule("a shape of two axes", lambda shape: len(shape) == 2)
    option_rules: ClassVar[Mapping[str, Rule]] = dict.fromkeys(("height", "width"), whole(1, 8192))

    @classmethod
    def field_rules(cls, entry: DecoderEntry, configs: Mapping[str, Any]) -> Mapping[str, Mapping[str, Rule]]:
        """Implement `LatentDiffusion.field_rules`."""
        unet_rules, vae_rules = channel_rules(configs["vae"], 3)
        width = one_of(entry.conditioning[-1])
        unet_rules["cross_attention_dim"] = either(width, list_of(width))
        unet_rules["class_embed_type"] = one_of(None)
        return {"unet": unet_rules, "vae": vae_rules}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (channels, height, width) of the latents."""
        size = self.unet.config.sample_size
        trained = (size, size) if isinstance(size, int) else tuple(size)
        sides = [self.options.get(name, 0) // self._vae_scale_factor for name in ("height", "width")]
        shape = (int(side or default) for side, default in zip(sides, trained, strict=True))
        return (self.unet.config.out_channels, *shape)

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
