"""An autoencoder for machines without a GPU: a linear coder of patches, and a small net that mends its picture.

A full variational autoencoder takes hours of two cores to get crisp. The best linear code of a small world's patches
(its principal components) takes seconds, is nearly as good, and its latents are there before anything is trained;
what it loses is smooth, and a few convolutions put that back.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Codes each `patch` x `patch` square of pixels by itself; decodes all of them together.

    It is used like diffusers' `AutoencoderKL`: divide latents by `config.scaling_factor` before `decode`. `width`
    is that of the mending net, 0 for none. Sides of the picture must be multiples of `patch`, which must be even.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 3,
        latent_channels: int = 48,
        patch: int = 8,
        width: int = 128,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.analysis = nn.Conv2d(in_channels, latent_channels, patch, patch)
        self.synthesis = nn.ConvTranspose2d(latent_channels, in_channels, patch, patch)
        self.mend = _Mend(in_channels, latent_channels, patch, width) if width else None

    def encode(self, pixels: Tensor) -> Tensor:
        """(n, in_channels, height, width) from -1 to 1 -> (n, latent_channels, height / patch, width / patch)."""
        latents: Tensor = self.analysis(pixels)
        return latents

    def decode(self, latents: Tensor) -> DecoderOutput:
        """The pixels, as `sample`; not clipped."""
        pixels = self.synthesis(latents)
        return DecoderOutput(sample=pixels if self.mend is None else pixels + self.mend(latents, pixels))


class _Mend(nn.Module):
    """What the linear code lost, guessed from the latents of a patch and of those around it."""

    def __init__(self, channels: int, latent_channels: int, patch: int, width: int) -> None:
        super().__init__()
        fine = width // 4
        self.coarse = nn.Sequential(
            nn.Conv2d(latent_channels, width, 3, padding=1), _Residual(width), _Residual(width), _Residual(width)
        )
        self.middle = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1), nn.PixelShuffle(2), _Residual(width // 2), _Residual(width // 2)
        )
        self.fine = nn.Sequential(nn.Conv2d(width // 2, fine * (patch // 2) ** 2, 1), nn.PixelShuffle(patch // 2))
        self.blend = nn.Conv2d(fine + channels, fine, 3, padding=1)
        self.out = nn.Conv2d(fine, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, pixels: Tensor) -> Tensor:
        details = self.fine(self.middle(self.coarse(latents)))
        change: Tensor = self.out(functional.silu(self.blend(torch.cat([details, pixels], dim=1))))
        return change


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(x)))
