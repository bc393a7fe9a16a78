"""Trains the denoiser of one modality to draw what a caption says, in an autoencoder's latents.

    python -m motet.training.nano.recipes.denoiser image --minutes 30

Captions come through the frozen caption encoder; one in ten is left out, for classifier-free guidance, and all
are blurred a little, because the output projections of the language model will not hit them exactly.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional

from motet.training import loop
from motet.training.nano.recipes.denoiser_kinds import DENOISER_TASKS, DenoiserTask
from motet.training.nano.world import caption_encoder, pictures
from motet.training.nano.world.world import MODALITIES

_UNTOLD = 0.1
_BLUR = 0.25
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    # The last step is pure noise, in training as in use: else the noise's mean leaks into plain backgrounds.
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def main() -> None:
    """Trains or goes on training; writes a sheet of held-out things beside the checkpoints as it goes."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    voice = DENOISER_TASKS[options.modality](options.build)
    denoiser = voice.denoiser()
    folder = options.build / f"denoiser-{options.modality}"
    schedule = loop.Schedule(options.steps, options.rate, minutes=options.minutes, average=options.average)
    training = loop.Loop(denoiser, folder, schedule)
    training.run(
        lambda rng: losses(denoiser, voice, rng),
        lambda: pictures.save(voice.sheet(lambda names: sample(denoiser, voice, names)), folder / "samples.png"),
        save_seconds=240,
    )


def losses(denoiser: nn.Module, voice: DenoiserTask, rng: np.random.Generator) -> dict[str, Tensor]:
    """The error of the predicted velocity (Salimans and Ho 2022) on one batch."""
    scheduler = DDIMScheduler(**SCHEDULER)
    latents, names = voice.batch(rng)
    count = len(latents)
    told = ["" if rng.random() < _UNTOLD else name for name in names]
    conditioning = caption_encoder.encode(voice.modality, told)
    blur = _BLUR * torch.rand(count, 1, 1) * conditioning.std()
    conditioning = conditioning + blur * torch.randn_like(conditioning)
    noise = torch.randn_like(latents[:: voice.twins]).repeat_interleave(voice.twins, dim=0)
    times = torch.randint(0, scheduler.config.num_train_timesteps, (count // voice.twins,))
    times = times.repeat_interleave(voice.twins)
    noisy = scheduler.add_noise(latents, noise, times)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = voice.predict(denoiser, noisy, times, conditioning)
    return {"velocity": functional.mse_loss(predicted.float(), scheduler.get_velocity(latents, noise, times))}


@torch.no_grad()
def sample(
    denoiser: nn.Module, voice: DenoiserTask, names: list[str], steps: int = 20, guidance: float = 3.0
) -> Tensor:
    """Latents of the captions, with seed 0: what the decoder will do, all at once."""
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    told = caption_encoder.encode(voice.modality, names)
    both = torch.cat([caption_encoder.encode(voice.modality, [""]).expand_as(told), told])
    latents = torch.randn(len(names), *voice.shape, generator=torch.Generator().manual_seed(0))
    for time in scheduler.timesteps:
        with torch.autocast("cpu", torch.bfloat16):
            predicted = voice.predict(denoiser, torch.cat([latents, latents]), time.expand(2 * len(names)), both)
        untold, wanted = predicted.float().chunk(2)
        latents = scheduler.step(untold + guidance * (wanted - untold), time, latents).prev_sample
    return latents


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="motet.training.nano.recipes.denoiser", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("modality", choices=MODALITIES)
    parser.add_argument("--build", type=Path, default=Path("build"), help="where data and checkpoints are kept")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, help="stop after this much training, if earlier")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--average", type=float, default=0.999, help="decay of the weights' running average")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
