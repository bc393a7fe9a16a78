"""Trains the picture autoencoder that the picture decoder and the clip decoder share.

    python -m motet.training.autoencoder --out build/autoencoder

64x64 pictures become 8x8x16 latents. It sees the nouns anywhere, in any size and at any angle, so it also
serves the frames of clips; combinations that are held out are not drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from motet.training import loop, pictures
from motet.training.world import BACKGROUNDS, NOUNS, Thing, held_out

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 64, 96, 128),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 16,
    "sample_size": 64,
}
BATCH = 8
# The posterior is kept a little noisy, so that the decoder forgives small errors of the denoiser.
_KL = 1e-4


def main() -> None:
    """Trains or goes on training, then prints the reconstruction error."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    autoencoder = AutoencoderKL(**CONFIG)
    schedule = loop.Schedule(options.steps, 1.5e-3, minutes=options.minutes, average=0.998)
    training = loop.Loop(autoencoder, options.out, schedule)
    training.run(lambda rng: losses(autoencoder, rng), lambda: show(autoencoder, options.out / "samples.png"))


def load(folder: Path) -> AutoencoderKL:
    """The trained autoencoder, in float32, with the scaling factor that gives its latents unit variance."""
    autoencoder = AutoencoderKL(**CONFIG)
    autoencoder.load_state_dict(loop.weights(folder))
    autoencoder.requires_grad_(False).eval()
    with torch.no_grad():
        latents = autoencoder.encode(batch(np.random.default_rng(1), 128)).latent_dist.mean
    autoencoder.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    return autoencoder


def losses(autoencoder: AutoencoderKL, rng: np.random.Generator) -> dict[str, Tensor]:
    """Pixel, edge and latent losses of one batch of random drawings."""
    pixels = batch(rng, BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = autoencoder.encode(pixels).latent_dist
        drawn = autoencoder.decode(posterior.sample()).sample
    drawn = drawn.float()
    edges = sum(
        functional.l1_loss(drawn.diff(dim=axis), pixels.diff(dim=axis)) for axis in (2, 3)
    )
    return {
        "l1": functional.l1_loss(drawn, pixels),
        "mse": functional.mse_loss(drawn, pixels),
        "edges": torch.as_tensor(edges),
        "kl": _KL * posterior.kl().mean() / posterior.mean[0].numel(),
    }


def batch(rng: np.random.Generator, count: int) -> Tensor:
    """Random drawings, float32 (count, 3, 64, 64) from -1 to 1."""
    return to_tensor(np.stack([_drawing(rng) for _ in range(count)]))


def to_tensor(pictures_: pictures.Picture) -> Tensor:
    """uint8 (..., height, width, 3) to float32 (..., 3, height, width) from -1 to 1."""
    return torch.from_numpy(pictures_).movedim(-1, -3).float().div(127.5).sub(1)


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
        noun, background, scale=rng.uniform(0.45, 1.2), offset=_place(rng, 20), angle=rng.uniform(0, 360)
    )


def _place(rng: np.random.Generator, reach: float) -> tuple[float, float]:
    right, down = rng.uniform(-reach, reach, 2)
    return float(right), float(down)


def show(autoencoder: AutoencoderKL, path: Path) -> None:
    """Writes drawings above their reconstructions; prints the peak signal-to-noise ratio over 64 of them."""
    pixels = batch(np.random.default_rng(7), 64)
    drawn = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mean).sample
    error = functional.mse_loss(drawn.clamp(-1, 1), pixels).item() / 4
    print(f"reconstruction: {-10 * np.log10(error):.2f} dB", flush=True)
    rows = [torch.cat([pixels[i : i + 16], drawn[i : i + 16]], dim=2) for i in range(0, 64, 16)]
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    pictures.save(to_pictures(sheet), path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="motet.training.autoencoder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/autoencoder"), help="checkpoints and samples")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, help="stop after this much training, if earlier")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
