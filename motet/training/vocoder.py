"""Trains the vocoder: log-mel spectrograms to waves, by comparing spectra of several window lengths.

    python -m motet.training.vocoder --minutes 20

It hears every note of every instrument but those of held-out combinations, through the linear coder that the
sound denoiser works in, so it learns on spectrograms like those it will be given.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor, nn
from torch.nn import functional
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from motet.models.patches import PatchAutoencoder
from motet.training import loop, sounds, spectrogram
from motet.training.autoencoder import fit
from motet.training.world import REGISTERS, Thing, held_out

CONFIG = {
    "model_in_dim": spectrogram.BANDS,
    "sampling_rate": sounds.RATE,
    "upsample_initial_channel": 128,
    "upsample_rates": [5, 4, 4, 2],
    "upsample_kernel_sizes": [10, 8, 8, 4],
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5]],
    "normalize_before": True,
}
_BATCH = 8
_FRAMES = 64
_NOISE = 0.03
# Short windows place the attack, long ones the pitch: 4096 samples tell 4 Hz apart.
_WINDOWS = (256, 512, 1024, 2048, 4096)


def main() -> None:
    """Trains or goes on training; writes waves of held-out notes beside the checkpoints."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vocoder = fresh()
    folder = options.build / "vocoder"
    schedule = loop.Schedule(options.steps, 1e-3, minutes=options.minutes, average=0.998)
    heard = Heard(options.build)
    training = loop.Loop(vocoder, folder, schedule)
    training.run(lambda rng: losses(vocoder, heard, rng), lambda: heard.show(vocoder, folder), save_seconds=240)


def fresh() -> SpeechT5HifiGan:
    """An untrained one."""
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**CONFIG))
    # Log-mel values are about -6 and vary by about 3.
    vocoder.mean.fill_(-6.0)
    vocoder.scale.fill_(3.0)
    for module in vocoder.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            # The class's own first weights are so small that it is silent for the first thousand steps.
            module.reset_parameters()
    return vocoder


def load(build: Path) -> SpeechT5HifiGan:
    """The trained vocoder. Raises FileNotFoundError when there is none."""
    vocoder = fresh()
    vocoder.load_state_dict(loop.weights(build / "vocoder"), strict=False)
    return vocoder.requires_grad_(False).eval()


class Heard:
    """The notes that may be learned from, their spectrograms, and the linear coder of these."""

    def __init__(self, build: Path) -> None:
        scales = sounds.load_scales(build / "data" / "sounds.safetensors")
        self.known = {key: torch.from_numpy(sound) for key, sound in scales.items() if not unheard(*key)}
        self.kept_back = {key: torch.from_numpy(sound) for key, sound in scales.items() if unheard(*key)}
        self.mels = {key: spectrogram.log_mel(wave[None])[0] for key, wave in self.known.items()}
        self.coder = coder(self.mels.values())
        self._keys = list(self.known)

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pieces of coded spectrograms (8, 64, 64) and of their waves (8, 10240), at random loudness."""
        spectra, waves = [], []
        for key in (self._keys[i] for i in rng.integers(len(self._keys), size=_BATCH)):
            gain = float(rng.uniform(0.4, 1.2))
            wave = gain * self.known[key]
            spectrum = self._recode(spectrogram.log_mel(wave[None]))[0]
            # Half begin with the attack: it is where instruments differ most.
            start = 0 if rng.random() < 0.4 else int(rng.integers(192 - _FRAMES))
            spectra.append(spectrum[start : start + _FRAMES])
            waves.append(wave[start * spectrogram.HOP : (start + _FRAMES) * spectrogram.HOP])
        return torch.stack(spectra), torch.stack(waves)

    @torch.no_grad()
    def _recode(self, spectra: Tensor) -> Tensor:
        latents = self.coder.encode(spectra[:, None])
        drawn: Tensor = self.coder.decode(latents + _NOISE * torch.randn_like(latents)).sample[:, 0]
        return drawn

    @torch.no_grad()
    def show(self, vocoder: SpeechT5HifiGan, folder: Path) -> None:
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


def losses(vocoder: SpeechT5HifiGan, heard: Heard, rng: np.random.Generator) -> dict[str, Tensor]:
    """Log-mel distance, and linear and logarithmic distance of magnitudes in five resolutions."""
    spectra, waves = heard.batch(rng)
    sung = vocoder(spectra)
    linear, logarithmic = torch.zeros(()), torch.zeros(())
    for window in _WINDOWS:
        wanted = spectrogram.magnitudes(waves, window, window // 4)
        got = spectrogram.magnitudes(sung, window, window // 4)
        linear = linear + (got - wanted).norm() / wanted.norm()
        logarithmic = logarithmic + functional.l1_loss(_loudness(got), _loudness(wanted))
    return {
        "mel": functional.l1_loss(spectrogram.log_mel(sung), spectrogram.log_mel(waves)),
        "linear": linear / len(_WINDOWS),
        "logarithmic": 0.5 * logarithmic / len(_WINDOWS),
    }


def _loudness(magnitudes: Tensor) -> Tensor:
    # What is 60 dB below a full tone is not heard and not worth learning.
    return magnitudes.clamp(min=1e-2).log()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="motet.training.vocoder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--build", type=Path, default=Path("build"), help="where data and checkpoints are kept")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--minutes", type=float, help="stop after this much training, if earlier")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
