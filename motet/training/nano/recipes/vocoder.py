"""Train the vocoder's network: log-mel spectrograms to linear spectrograms. Griffin-Lim adds the phases.

    python -m motet.training.nano.recipes.vocoder --minutes 8

The training data are all notes of all instruments except the held-out combinations. The notes pass through the linear
autoencoder of the sound denoiser, so that they resemble the vocoder's input at serving time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.io import wavfile
from torch import Tensor
from torch.nn import functional

from motet.models.diffusion.griffin_lim import GriffinLimVocoder
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.training.loop import Schedule, TrainingLoop, load_weights
from motet.training.nano.recipes.autoencoder import fit
from motet.training.nano.world import sounds, spectrogram
from motet.training.nano.world.world import REGISTERS, Thing, held_out

_BATCH = 16
# The MIDI notes of the data: in the registers and between them.
_NOTES = range(min(REGISTERS["low"]), max(REGISTERS["high"]) + 1)
_NOISE = 0.03
_HALF_HOP = spectrogram.HOP // 2
# The smallest magnitude in the loss, 60 dB below a full tone. Smaller ones are inaudible.
_MIN_MAGNITUDE = 1e-2


def load_vocoder(build: Path) -> GriffinLimVocoder:
    """Return the trained vocoder. Raise FileNotFoundError if there is no complete checkpoint."""
    vocoder = GriffinLimVocoder()
    vocoder.load_state_dict(load_weights(build / "vocoder"), strict=False)
    return vocoder.requires_grad_(False).eval()


class VocoderData:
    """The notes of both splits, the spectrograms of the training split, and their linear autoencoder."""

    def __init__(self, build: Path) -> None:
        scales = sounds.load_scales(build / "data" / "sounds.safetensors")
        scales = {key: sound for key, sound in scales.items() if key[1] in _NOTES}
        self.training = {key: torch.from_numpy(sound) for key, sound in scales.items() if not is_held_out_note(*key)}
        self.test = {key: torch.from_numpy(sound) for key, sound in scales.items() if is_held_out_note(*key)}
        self.mels = {key: spectrogram.log_mel(wave[None])[0] for key, wave in self.training.items()}
        self.autoencoder = sound_autoencoder(self.mels.values())
        self._keys = list(self.training)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return sixteen coded spectrograms (16, 192, 64) and their magnitudes (16, 192, 513), at random volume."""
        keys = [self._keys[i] for i in rng.integers(len(self._keys), size=_BATCH)]
        waves = torch.stack([float(rng.uniform(0.4, 1.2)) * self.training[key] for key in keys])
        # The centre of a log-mel frame is half a hop later than the centre of a frame of the centred transform.
        shifted = functional.pad(waves[:, _HALF_HOP:], (0, _HALF_HOP))
        return self._recode(spectrogram.log_mel(waves)), spectrogram.magnitudes(shifted, 1024, spectrogram.HOP)[:, :-1]

    @torch.no_grad()
    def _recode(self, mels: Tensor) -> Tensor:
        latents = self.autoencoder.encode(mels[:, None])
        decoded: Tensor = self.autoencoder.decode(latents + _NOISE * torch.randn_like(latents)).sample[:, 0]
        return decoded

    @torch.no_grad()
    def save_samples(self, vocoder: GriffinLimVocoder, folder: Path) -> None:
        """Write some of the vocoder's held-out notes, and print the mean log-mel distance of all held-out notes."""
        mels = spectrogram.log_mel(torch.stack(list(self.test.values())))
        waves = vocoder(mels)
        distance = (spectrogram.log_mel(waves) - mels).abs().mean().item()
        print(f"held-out notes: log-mel distance {distance:.3f} nepers", flush=True)
        for (instrument, note), wave in list(zip(self.test, waves, strict=True))[2::5]:
            wavfile.write(folder / f"{instrument}-{note}.wav", sounds.RATE, wave.numpy())


def is_held_out_note(instrument: str, note: int) -> bool:
    """Return True if the note belongs to a held-out combination."""
    return any(
        note in notes and held_out(Thing("audio", instrument, register)) for register, notes in REGISTERS.items()
    )


def sound_autoencoder(mels: Iterable[Tensor]) -> PatchAutoencoder:
    """Return the linear autoencoder of spectrograms: 192 x 64 to 24 x 8 x 24."""
    autoencoder = PatchAutoencoder(in_channels=1, latent_channels=24, width=0)
    fit(autoencoder, torch.stack(list(mels))[:, None])
    return autoencoder.requires_grad_(False).eval()


def losses(vocoder: GriffinLimVocoder, data: VocoderData, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the differences of the magnitudes' logarithms, and of their square roots, which weight loud peaks more."""
    mels, target = data.batch(rng)
    predicted = vocoder.log_magnitudes(mels)
    return {
        "logarithmic": functional.l1_loss(
            predicted.clamp(min=math.log(_MIN_MAGNITUDE)), target.clamp(min=_MIN_MAGNITUDE).log()
        ),
        "root": functional.l1_loss((predicted / 2).exp(), target.sqrt()),
    }


def main(
    build: Annotated[Path, typer.Option(help="Folder of data and checkpoints.")] = Path("build"),
    steps: Annotated[int, typer.Option(help="Largest number of steps.")] = 10_000,
    minutes: Annotated[float | None, typer.Option(help="Longest training in minutes of CPU time.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads. The CPU time is the sum over all threads.")] = 1,
) -> None:
    """Train the vocoder, and write samples of held-out notes into the checkpoint folder."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    vocoder = GriffinLimVocoder()
    folder = build / "vocoder"
    schedule = Schedule(steps, 1e-3, minutes=minutes, average=0.998)
    data = VocoderData(build)
    loop = TrainingLoop(vocoder, folder, schedule)
    loop.run(lambda rng: losses(vocoder, data, rng), lambda: data.save_samples(vocoder, folder), save_interval=240)


if __name__ == "__main__":
    typer.run(main)
