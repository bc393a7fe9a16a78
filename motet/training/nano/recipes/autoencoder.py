"""Train the autoencoder of pictures. The picture decoder and the clip decoder share it.

    python -m motet.training.nano.recipes.autoencoder --out build/autoencoder

The autoencoder converts 64x64 pictures to 8x8x48 latents. It is trained on nouns at any position, size and angle,
because the clip decoder uses it for frames. Held-out combinations are excluded. The linear layers are computed in
seconds and do not change, so the denoisers can train at the same time as the refinement network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.training.loop import Schedule, TrainingLoop, load_weights, newest_checkpoint
from motet.training.nano.world import pictures
from motet.training.nano.world.world import BACKGROUNDS, NOUNS, Thing, held_out
from motet.training.precision import fast_precision

BATCH = 16
# Largest noise on the latents that the refinement network is trained with. A denoiser's latents are noisy, too.
_NOISE = 0.3


def linear_autoencoder() -> PatchAutoencoder:
    """Return the autoencoder with final linear layers and an untrained refinement network."""
    torch.manual_seed(0)
    autoencoder = PatchAutoencoder()
    fit(autoencoder, draw_batch(np.random.default_rng(1), 3000))
    autoencoder.analysis.requires_grad_(False)
    autoencoder.synthesis.requires_grad_(False)
    return autoencoder


def load_autoencoder(folder: Path) -> PatchAutoencoder:
    """Return the trained autoencoder. Raise FileNotFoundError if the folder holds no complete checkpoint."""
    autoencoder = linear_autoencoder()
    autoencoder.load_state_dict(load_weights(folder), strict=False)
    autoencoder.requires_grad_(False).eval()
    return autoencoder


def load_or_linear(folder: Path) -> PatchAutoencoder:
    """Return the trained autoencoder, or the linear one if the folder holds no complete checkpoint."""
    return load_autoencoder(folder) if newest_checkpoint(folder) else linear_autoencoder()


@torch.no_grad()
def fit(autoencoder: PatchAutoencoder, samples: Tensor) -> None:
    """Set the linear layers to the principal components of the samples' patches. The latents get a mean variance of 1.

    A component is divided by the square root of its standard deviation. With equal weights a denoiser would mostly
    learn noise. With the natural weights it would mostly learn the colour of the background.
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
    """Return the pixel and edge losses of one batch of random pictures."""
    pixels = draw_batch(rng, BATCH)
    with torch.no_grad():
        latents = autoencoder.encode(pixels)
    latents = latents + _NOISE * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(latents)
    with fast_precision():
        decoded = autoencoder.decode(latents).sample
    return differences(decoded.float(), pixels)


def differences(decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the differences of values and of edges, both tensors (n, channels, height, width)."""
    edges = [functional.l1_loss(decoded.diff(dim=axis), target.diff(dim=axis)) for axis in (2, 3)]
    return {
        "l1": functional.l1_loss(decoded, target),
        "mse": functional.mse_loss(decoded, target),
        "edges": edges[0] + edges[1],
    }


def draw_batch(rng: np.random.Generator, count: int) -> Tensor:
    """Return random pictures, float32 (count, 3, 64, 64) from -1 to 1."""
    return to_tensor(np.stack([_random_picture(rng) for _ in range(count)]))


def to_tensor(levels: pictures.Picture) -> Tensor:
    """Convert uint8 (..., height, width, 3) to float32 (..., 3, height, width) from -1 to 1."""
    return torch.from_numpy(levels).movedim(-1, -3).float().div(127.5).sub(1)


def to_pictures(pixels: Tensor) -> pictures.Picture:
    """Convert tensors to pictures, the inverse of `to_tensor`, with clipping."""
    levels: pictures.Picture = pixels.add(1).mul(127.5).round().clamp(0, 255).byte().movedim(-3, -1).numpy()
    return levels


def _random_picture(rng: np.random.Generator) -> pictures.Picture:
    noun = str(rng.choice(list(NOUNS)))
    backgrounds = [name for name in BACKGROUNDS if not held_out(Thing("image", noun, name))]
    # All clips are on white, so white is more likely unless it is held out for the noun.
    background = "white" if "white" in backgrounds and rng.random() < 0.2 else str(rng.choice(backgrounds))
    if rng.random() < 0.4:
        return pictures.draw(noun, background, scale=rng.uniform(0.9, 1.1), offset=_random_offset(rng, 4))
    return pictures.draw(
        noun, background, scale=rng.uniform(0.35, 1.1), offset=_random_offset(rng, 18), angle=rng.uniform(0, 360)
    )


def _random_offset(rng: np.random.Generator, limit: float) -> tuple[float, float]:
    right, down = rng.uniform(-limit, limit, 2)
    return float(right), float(down)


def save_samples(autoencoder: PatchAutoencoder, path: Path) -> None:
    """Write a sheet of 64 pictures with their reconstructions below, and print the peak signal-to-noise ratios."""
    pixels = draw_batch(np.random.default_rng(7), 64)
    latents = autoencoder.encode(pixels)
    refined = autoencoder.decode(latents).sample
    linear = autoencoder.synthesis(latents)
    ratios = [-10 * np.log10((x.clamp(-1, 1) - pixels).square().mean().item() / 4) for x in (linear, refined)]
    print(f"reconstruction: linear {ratios[0]:.2f} dB, refined {ratios[1]:.2f} dB", flush=True)
    rows = [torch.cat([pixels[i : i + 16], refined[i : i + 16]], dim=2) for i in range(0, 64, 16)]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pictures.save(to_pictures(sheet), path)


def main(
    out: Annotated[Path, typer.Option(help="Folder of checkpoints and samples.")] = Path("build/autoencoder"),
    steps: Annotated[int, typer.Option(help="Largest number of steps.")] = 6000,
    minutes: Annotated[float | None, typer.Option(help="Longest training in minutes of CPU time.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads. The CPU time is the sum over all threads.")] = 1,
) -> None:
    """Train the autoencoder of pictures, and print its reconstruction error."""
    torch.set_num_threads(threads)
    autoencoder = linear_autoencoder()
    schedule = Schedule(steps, 1e-3, minutes=minutes, average=0.998)
    loop = TrainingLoop(autoencoder, out, schedule)
    loop.run(lambda rng: losses(autoencoder, rng), lambda: save_samples(autoencoder, out / "samples.png"))


if __name__ == "__main__":
    typer.run(main)
