"""Trains the picture autoencoder that the picture decoder and the clip decoder share.

    python -m motet.training.nano.recipes.autoencoder --out build/autoencoder

64x64 pictures become 8x8x48 latents. It sees the nouns anywhere, in any size and at any angle, so it also
serves the frames of clips; combinations that are held out are not drawn. Its linear half is computed in
seconds and never changes, so the denoisers need not wait for the rest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.training import loop
from motet.training.nano.world import pictures
from motet.training.nano.world.world import BACKGROUNDS, NOUNS, Thing, held_out

BATCH = 16
# The mending net learns on latents that are off by up to this, as a denoiser's are, and learns to clean them.
_NOISE = 0.3


def main() -> None:
    """Trains or goes on training, and prints the reconstruction error."""
    options = _options()
    torch.set_num_threads(options.threads)
    autoencoder = linear()
    schedule = loop.Schedule(options.steps, 1e-3, minutes=options.minutes, average=0.998)
    training = loop.Loop(autoencoder, options.out, schedule)
    training.run(lambda rng: losses(autoencoder, rng), lambda: show(autoencoder, options.out / "samples.png"))


def linear() -> PatchAutoencoder:
    """The autoencoder before its mending net is trained: only that still learns."""
    torch.manual_seed(0)
    autoencoder = PatchAutoencoder()
    fit(autoencoder, batch(np.random.default_rng(1), 3000))
    autoencoder.analysis.requires_grad_(False)
    autoencoder.synthesis.requires_grad_(False)
    return autoencoder


def load(folder: Path) -> PatchAutoencoder:
    """The trained autoencoder. Raises FileNotFoundError when there is none."""
    autoencoder = linear()
    autoencoder.load_state_dict(loop.weights(folder), strict=False)
    autoencoder.requires_grad_(False).eval()
    return autoencoder


@torch.no_grad()
def fit(autoencoder: PatchAutoencoder, samples: Tensor) -> None:
    """Sets the linear half to the principal components of the samples' patches; latents get variance 1 in all.

    A component is divided by the square root of its deviation: all weighing the same, or all keeping their
    natural weight, either noise or the colour of the background would be most of what a denoiser learns.
    """
    _, channels, *_ = samples.shape
    kept, patch = autoencoder.config.latent_channels, autoencoder.config.patch
    means = samples.mean(dim=(0, 2, 3))
    rows = functional.unfold(samples - means[:, None, None], patch, stride=patch).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    deviations, vectors = values.flip(0)[:kept].clamp(min=1e-8).sqrt(), vectors.flip(1)[:, :kept].T
    scales = deviations.sqrt() * deviations.mean().sqrt()
    shape = (kept, channels, patch, patch)
    analysis = (vectors / scales[:, None]).reshape(shape)
    _set(autoencoder.analysis, analysis, -(analysis.sum(dim=(2, 3)) @ means))
    _set(autoencoder.synthesis, (vectors * scales[:, None]).reshape(shape), means)


def _set(layer: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, bias: Tensor) -> None:
    layer.load_state_dict({"weight": weight, "bias": bias})


def losses(autoencoder: PatchAutoencoder, rng: np.random.Generator) -> dict[str, Tensor]:
    """Pixel and edge losses of one batch of random drawings."""
    pixels = batch(rng, BATCH)
    with torch.no_grad():
        latents = autoencoder.encode(pixels)
    latents = latents + _NOISE * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(latents)
    with torch.autocast("cpu", torch.bfloat16):
        drawn = autoencoder.decode(latents).sample
    return differences(drawn.float(), pixels)


def differences(drawn: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """How far (n, channels, height, width) is from what was wanted: in values and in edges."""
    edges = [functional.l1_loss(drawn.diff(dim=axis), wanted.diff(dim=axis)) for axis in (2, 3)]
    return {
        "l1": functional.l1_loss(drawn, wanted),
        "mse": functional.mse_loss(drawn, wanted),
        "edges": edges[0] + edges[1],
    }


def batch(rng: np.random.Generator, count: int) -> Tensor:
    """Random drawings, float32 (count, 3, 64, 64) from -1 to 1."""
    return to_tensor(np.stack([_drawing(rng) for _ in range(count)]))


def to_tensor(drawings: pictures.Picture) -> Tensor:
    """uint8 (..., height, width, 3) to float32 (..., 3, height, width) from -1 to 1."""
    return torch.from_numpy(drawings).movedim(-1, -3).float().div(127.5).sub(1)


def to_pictures(pixels: Tensor) -> pictures.Picture:
    """The inverse of `to_tensor`, clipped."""
    levels: pictures.Picture = pixels.add(1).mul(127.5).round().clamp(0, 255).byte().movedim(-3, -1).numpy()
    return levels


def _drawing(rng: np.random.Generator) -> pictures.Picture:
    noun = str(rng.choice(list(NOUNS)))
    backgrounds = [name for name in BACKGROUNDS if not held_out(Thing("image", noun, name))]
    # Clips are all on white, so white gets an extra share where the noun may stand on it.
    background = "white" if "white" in backgrounds and rng.random() < 0.2 else str(rng.choice(backgrounds))
    if rng.random() < 0.4:
        return pictures.draw(noun, background, scale=rng.uniform(0.9, 1.1), offset=_place(rng, 4))
    return pictures.draw(
        noun, background, scale=rng.uniform(0.35, 1.1), offset=_place(rng, 18), angle=rng.uniform(0, 360)
    )


def _place(rng: np.random.Generator, reach: float) -> tuple[float, float]:
    right, down = rng.uniform(-reach, reach, 2)
    return float(right), float(down)


def show(autoencoder: PatchAutoencoder, path: Path) -> None:
    """Writes drawings above their reconstructions; prints the peak signal-to-noise ratio over 64 of them."""
    pixels = batch(np.random.default_rng(7), 64)
    latents = autoencoder.encode(pixels)
    drawn = autoencoder.decode(latents).sample
    plain = autoencoder.synthesis(latents)
    ratios = [-10 * np.log10((x.clamp(-1, 1) - pixels).square().mean().item() / 4) for x in (plain, drawn)]
    print(f"reconstruction: linear {ratios[0]:.2f} dB, mended {ratios[1]:.2f} dB", flush=True)
    rows = [torch.cat([pixels[i : i + 16], drawn[i : i + 16]], dim=2) for i in range(0, 64, 16)]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pictures.save(to_pictures(sheet), path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="motet.training.nano.recipes.autoencoder", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("build/autoencoder"), help="checkpoints and samples")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, help="stop after this much training, if earlier")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
