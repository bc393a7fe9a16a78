"""An autoencoder for machines without a GPU: a linear code of patches, and a small network that refines the picture.

A full variational autoencoder needs hours of training on two cores for sharp pictures. The best linear code of the
patches of a small world (their principal components) is computed in seconds and nearly as good, and its latents exist
before any training. A few convolutions restore the smooth details that the linear code loses.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional


class PatchAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """An autoencoder that encodes each `patch` x `patch` square of pixels alone, and decodes all squares in one pass.

    Its interface is that of diffusers' `AutoencoderKL`: divide latents by `config.scaling_factor` before `decode`.
    `width` is the width of the refining network; 0 means no such network. The sides of a picture must be multiples of
    `patch`, and `patch` must be even.
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
        self.mend = _Refiner(in_channels, latent_channels, patch, width) if width else None

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode pixels from -1 to 1.

        Shape: (n, in_channels, height, width) -> (n, latent_channels, height / patch, width / patch).
        """
        latents: Tensor = self.analysis(pixels)
        return latents

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Return the pixels in the field `sample`. They can exceed the range from -1 to 1."""
        pixels = self.synthesis(latents)
        return DecoderOutput(sample=pixels if self.mend is None else pixels + self.mend(latents, pixels))


class _Refiner(nn.Module):
    """A network that estimates the error of the linear code from the latents of a patch and its neighbours."""

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
        correction: Tensor = self.out(functional.silu(self.blend(torch.cat([details, pixels], dim=1))))
        return correction


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(functional.silu(self.first(x)))
