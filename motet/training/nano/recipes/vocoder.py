"""Trains the vocoder's net: log-mel spectrograms to linear ones, from which the phases follow.

    python -m motet.training.nano.recipes.vocoder --minutes 8

It hears every note of every instrument but those of held-out combinations, through the linear coder that the
sound denoiser works in, so it learns on spectrograms like those it will be given.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor
from torch.nn import functional

from motet.models.diffusion.griffin_lim import GriffinLimVocoder
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.training import loop
from motet.training.nano.recipes.autoencoder import fit
from motet.training.nano.world import sounds, spectrogram
from motet.training.nano.world.world import REGISTERS, Thing, held_out

_BATCH = 16
# The notes it learns from: those of the registers and between them.
_SUNG = range(min(REGISTERS["low"]), max(REGISTERS["high"]) + 1)
_NOISE = 0.03
_HALF = spectrogram.HOP // 2
# What is 60 dB below a full tone is not heard and not worth learning.
_QUIET = 1e-2


def main() -> None:
    """Trains or goes on training; writes waves of held-out notes beside the checkpoints."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vocoder = GriffinLimVocoder()
    folder = options.build / "vocoder"
    schedule = loop.Schedule(options.steps, 1e-3, minutes=options.minutes, average=0.998)
    heard = Heard(options.build)
    training = loop.Loop(vocoder, folder, schedule)
    training.run(lambda rng: losses(vocoder, heard, rng), lambda: heard.show(vocoder, folder), save_seconds=240)


def load(build: Path) -> GriffinLimVocoder:
    """The trained vocoder. Raises FileNotFoundError when there is none."""
    vocoder = GriffinLimVocoder()
    vocoder.load_state_dict(loop.weights(build / "vocoder"), strict=False)
    return vocoder.requires_grad_(False).eval()


class Heard:
    """The notes that may be learned from, their spectrograms, and the linear coder of these."""

    def __init__(self, build: Path) -> None:
        scales = sounds.load_scales(build / "data" / "sounds.safetensors")
        scales = {key: sound for key, sound in scales.items() if key[1] in _SUNG}
        self.known = {key: torch.from_numpy(sound) for key, sound in scales.items() if not unheard(*key)}
        self.kept_back = {key: torch.from_numpy(sound) for key, sound in scales.items() if unheard(*key)}
        self.mels = {key: spectrogram.log_mel(wave[None])[0] for key, wave in self.known.items()}
        self.coder = coder(self.mels.values())
        self._keys = list(self.known)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sixteen coded spectrograms (16, 192, 64) and their magnitudes (16, 192, 513), at random loudness."""
        chosen = [self._keys[i] for i in rng.integers(len(self._keys), size=_BATCH)]
        waves = torch.stack([float(rng.uniform(0.4, 1.2)) * self.known[key] for key in chosen])
        # A frame of the log-mel spectrogram has its centre half a hop later than one of the centred transform.
        later = functional.pad(waves[:, _HALF:], (0, _HALF))
        return self._recode(spectrogram.log_mel(waves)), spectrogram.magnitudes(later, 1024, spectrogram.HOP)[:, :-1]

    @torch.no_grad()
    def _recode(self, spectra: Tensor) -> Tensor:
        latents = self.coder.encode(spectra[:, None])
        drawn: Tensor = self.coder.decode(latents + _NOISE * torch.randn_like(latents)).sample[:, 0]
        return drawn

    @torch.no_grad()
    def show(self, vocoder: GriffinLimVocoder, folder: Path) -> None:
        """Writes held-out notes as the vocoder sings them; prints their distance in log-mel."""
        waves = torch.stack(list(self.kept_back.values()))
        mels = spectrogram.log_mel(waves)
        sung = vocoder(mels)
        distance = (spectrogram.log_mel(sung) - mels).abs().mean().item()
        print(f"held-out notes: {distance:.3f} nepers apart", flush=True)
        for (instrument, note), wave in list(zip(self.kept_back, sung, strict=True))[2::5]:
            wavfile.write(folder / f"{instrument}-{note}.wav", sounds.RATE, wave.numpy())


def unheard(instrument: str, note: int) -> bool:
    """Whether this is a note of a held-out combination."""
    return any(
        note in notes and held_out(Thing("audio", instrument, register)) for register, notes in REGISTERS.items()
    )


def coder(mels: Iterable[Tensor]) -> PatchAutoencoder:
    """The linear coder of spectrograms: 192 x 64 become 24 x 8 x 24."""
    autoencoder = PatchAutoencoder(in_channels=1, latent_channels=24, width=0)
    fit(autoencoder, torch.stack(list(mels))[:, None])
    return autoencoder.requires_grad_(False).eval()


def losses(vocoder: GriffinLimVocoder, heard: Heard, rng: np.random.Generator) -> dict[str, Tensor]:
    """Distance of the magnitudes' logarithms, and of their square roots, which loud peaks dominate."""
    mels, wanted = heard.batch(rng)
    got = vocoder.log_magnitudes(mels)
    return {
        "logarithmic": functional.l1_loss(got.clamp(min=math.log(_QUIET)), wanted.clamp(min=_QUIET).log()),
        "root": functional.l1_loss((got / 2).exp(), wanted.sqrt()),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="motet.training.nano.recipes.vocoder", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--build", type=Path, default=Path("build"), help="where data and checkpoints are kept")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--minutes", type=float, help="stop after this much training, if earlier")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
