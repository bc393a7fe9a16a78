"""The patch autoencoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motet.models.diffusion import loading
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.models.model_folder import ModelFolder
from motet.training.nano.recipes.autoencoder import fit


def smooth(count: int, channels: int = 3) -> torch.Tensor:
    """Return smooth random pictures, which a few principal components describe almost completely."""
    coarse = torch.randn(count, channels, 2, 2, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")


@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_the_linear_code_is_exact_with_all_components(channels: int) -> None:
    pixels = torch.rand(50, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    autoencoder = PatchAutoencoder(channels, 16 * channels, patch=4, width=0)
    fit(autoencoder, pixels)
    assert torch.allclose(autoencoder.decode(autoencoder.encode(pixels)).sample, pixels, atol=1e-3)


@torch.no_grad()
def test_few_components_describe_smooth_pictures_and_latents_have_unit_variance() -> None:
    pixels = smooth(200)
    autoencoder = PatchAutoencoder(latent_channels=12, patch=4, width=0)
    fit(autoencoder, pixels)
    latents = autoencoder.encode(pixels)
    assert latents.shape == (200, 12, 4, 4)
    assert latents.std().item() == pytest.approx(1, abs=0.1)
    error = (autoencoder.decode(latents).sample - pixels).square().mean()
    assert error < 0.01 * pixels.var()


@torch.no_grad()
def test_an_untrained_refining_network_changes_nothing() -> None:
    latents = torch.randn(2, 48, 2, 2, generator=torch.Generator().manual_seed(0))
    autoencoder = PatchAutoencoder(width=16)
    assert torch.equal(autoencoder.decode(latents).sample, autoencoder.synthesis(latents))


@torch.no_grad()
def test_a_saved_autoencoder_can_be_loaded(tmp_path: Path) -> None:
    autoencoder = PatchAutoencoder(latent_channels=8, patch=4, width=16)
    autoencoder.save_pretrained(tmp_path)
    loaded = loading.load_component(ModelFolder.unlisted(tmp_path))
    latents = torch.randn(1, 8, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.decode(latents).sample, autoencoder.decode(latents).sample)
