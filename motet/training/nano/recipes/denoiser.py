"""Train the denoiser of one modality to generate latents from captions.

    python -m motet.training.nano.recipes.denoiser image --minutes 30

The frozen caption encoder encodes the captions. One caption in ten is replaced by the empty one, for classifier-free
guidance. All conditioning gets some noise, because the output projections of the language model are not exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from motet.training.loop import Schedule, TrainingLoop
from motet.training.nano.recipes.denoiser_tasks.audio import AudioTask
from motet.training.nano.recipes.denoiser_tasks.image import ImageTask
from motet.training.nano.recipes.denoiser_tasks.task import DenoiserTask
from motet.training.nano.recipes.denoiser_tasks.video import VideoTask
from motet.training.nano.world import caption_encoder, pictures
from motet.training.precision import fast_precision

DENOISER_TASKS: Mapping[str, Callable[[Path], DenoiserTask]] = {
    "image": ImageTask,
    "audio": AudioTask,
    "video": VideoTask,
}
# Probability of the empty caption.
_UNCONDITIONAL = 0.1
# Largest noise on the conditioning, in standard deviations of the conditioning.
_NOISE = 0.25
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    # The last timestep is pure noise in training and in inference. Otherwise the mean of the noise shifts the colour of
    # plain backgrounds.
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
}


def losses(denoiser: nn.Module, task: DenoiserTask, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the error of the predicted velocity (Salimans and Ho 2022) on one batch."""
    scheduler = DDIMScheduler(**SCHEDULER)
    batch = task.batch(rng)
    latents, count = batch.latents, len(batch.latents)
    captions = ["" if rng.random() < _UNCONDITIONAL else caption for caption in batch.captions]
    conditioning = caption_encoder.encode(task.modality, captions)
    level = _NOISE * torch.rand(count, 1, 1) * conditioning.std()
    conditioning = conditioning + level * torch.randn_like(conditioning)
    noise = torch.randn_like(latents[:: task.group_size]).repeat_interleave(task.group_size, dim=0)
    timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (count // task.group_size,))
    timesteps = timesteps.repeat_interleave(task.group_size)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    with fast_precision():
        predicted = task.predict(denoiser, noisy, timesteps, conditioning, batch.first_frames)
    return {"velocity": functional.mse_loss(predicted.float(), scheduler.get_velocity(latents, noise, timesteps))}


@torch.no_grad()
def sample(
    denoiser: nn.Module,
    task: DenoiserTask,
    captions: list[str],
    first_frames: Tensor | None = None,
    steps: int = 20,
    guidance: float = 3.0,
) -> Tensor:
    """Return latents of the captions in one batch, with seed 0.

    `first_frames` are those of `DenoiserBatch`. The guidance applies to the captions alone.
    """
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(steps)
    conditional = caption_encoder.encode(task.modality, captions)
    unconditional = caption_encoder.encode(task.modality, [""]).expand_as(conditional)
    conditioning = torch.cat([unconditional, conditional])
    latents = torch.randn(len(captions), *task.shape, generator=torch.Generator().manual_seed(0))
    both = None if first_frames is None else torch.cat([first_frames, first_frames])
    for timestep in scheduler.timesteps:
        timesteps = timestep.expand(2 * len(captions))
        with fast_precision():
            predicted = task.predict(denoiser, torch.cat([latents, latents]), timesteps, conditioning, both)
        without, with_caption = predicted.float().chunk(2)
        latents = scheduler.step(without + guidance * (with_caption - without), timestep, latents).prev_sample
    return latents


@torch.no_grad()
def load_initial(denoiser: nn.Module, folder: Path) -> None:
    """Load the weights of a U-Net in a bundle. If it has fewer input channels, the new ones have the weight 0.

    So the denoiser first ignores the new channels, and its outputs are those of the U-Net. Raise RuntimeError if
    another layer differs.
    """
    state = {name: value.float() for name, value in load_file(folder / "diffusion_pytorch_model.safetensors").items()}
    wanted = denoiser.state_dict()["conv_in.weight"]
    widened = torch.zeros_like(wanted)
    widened[:, : state["conv_in.weight"].shape[1]] = state["conv_in.weight"]
    denoiser.load_state_dict(state | {"conv_in.weight": widened})


def main(
    modality: Annotated[str, typer.Argument(help="image, audio or video.")],
    build: Annotated[Path, typer.Option(help="Folder of data and checkpoints.")] = Path("build"),
    steps: Annotated[int, typer.Option(help="Largest number of steps.")] = 100_000,
    minutes: Annotated[float | None, typer.Option(help="Longest training in minutes of CPU time.")] = None,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    average: Annotated[float, typer.Option(help="Decay of the running average of the weights.")] = 0.999,
    threads: Annotated[int, typer.Option(help="CPU threads. The CPU time is the sum over all threads.")] = 1,
    initial: Annotated[Path | None, typer.Option(help="Folder of a U-Net to continue from. Default: none.")] = None,
) -> None:
    """Train the denoiser of one modality, and write samples of held-out things into the checkpoint folder."""
    if modality not in DENOISER_TASKS:
        raise typer.BadParameter(f"{modality!r} is not a modality: use one of {', '.join(DENOISER_TASKS)}")
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    task = DENOISER_TASKS[modality](build)
    denoiser = task.denoiser()
    if initial:
        load_initial(denoiser, initial)
    folder = build / f"denoiser-{modality}"
    schedule = Schedule(steps, rate, minutes=minutes, average=average)

    def save_samples() -> None:
        pictures.save(task.sample_sheet(partial(sample, denoiser, task)), folder / "samples.png")

    loop = TrainingLoop(denoiser, folder, schedule)
    loop.run(lambda rng: losses(denoiser, task, rng), save_samples, save_interval=900)


if __name__ == "__main__":
    typer.run(main)
