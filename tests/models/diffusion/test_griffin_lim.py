"""The vocoder's algorithm, without its net."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from motet.models.diffusion.griffin_lim import GriffinLimVocoder, steady_phases

RATE, HOP, WINDOW, FRAMES = 16000, 160, 1024, 60


class Known(GriffinLimVocoder):  # type: ignore[misc]
    """One whose net already knows the magnitudes."""

    def __init__(self, magnitudes: torch.Tensor, **config: int) -> None:
        super().__init__(**config)
        self.magnitudes = magnitudes

    def log_magnitudes(self, mel: torch.Tensor) -> torch.Tensor:
        return self.magnitudes.clamp(min=1e-6).log()


def tone(*hertz: float) -> torch.Tensor:
    time = torch.arange(FRAMES * HOP) / RATE
    return 0.2 * torch.stack([torch.sin(2 * math.pi * each * time) for each in hertz]).sum(dim=0)[None]


def magnitudes(waves: torch.Tensor) -> torch.Tensor:
    spectrum = torch.stft(waves, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)
    return spectrum.abs().transpose(1, 2)[:, :FRAMES]


def pitch(wave: torch.Tensor) -> float:
    spectrum = np.abs(np.fft.rfft(wave.numpy()[2000:8000] * np.hanning(6000), 2**16))
    return float(spectrum.argmax() * RATE / 2**16)


@pytest.mark.parametrize("hertz", [110.0, 293.66, 783.99, 2637.0])
@torch.no_grad()
def test_a_tone_keeps_its_pitch_and_its_loudness(hertz: float) -> None:
    wanted = tone(hertz)
    made = Known(magnitudes(wanted))(torch.zeros(1, FRAMES, 64))
    assert made.shape == wanted.shape
    assert pitch(made[0]) == pytest.approx(hertz, abs=0.7)
    assert made[:, 1000:-1000].std().item() == pytest.approx(wanted.std().item(), rel=0.05)


@torch.no_grad()
def test_many_tones_at_once_come_back_with_nearly_the_spectrum_they_had() -> None:
    wanted = magnitudes(tone(110, 220, 330, 550, 880))
    made = magnitudes(Known(wanted)(torch.zeros(1, FRAMES, 64)))
    assert (made - wanted).norm() < 0.1 * wanted.norm()


@torch.no_grad()
def test_five_iterations_are_enough_for_steady_tones() -> None:
    # Begun from phases of zero instead, they leave a third of the spectrum wrong.
    wanted = magnitudes(tone(440, 660))
    made = magnitudes(Known(wanted, iterations=5)(torch.zeros(1, FRAMES, 64)))
    assert (made - wanted)[:, 5:-5].norm() < 0.05 * wanted[:, 5:-5].norm()


@torch.no_grad()
def test_silence_and_noise_are_finite() -> None:
    for loudness in (0.0, 1.0):
        noise = loudness * torch.rand(1, 513, 10, generator=torch.Generator().manual_seed(0))
        assert torch.isfinite(steady_phases(noise, HOP)).all()
        assert torch.isfinite(Known(noise.transpose(1, 2))(torch.zeros(1, 10, 64))).all()


@torch.no_grad()
def test_its_net_takes_the_log_mel_of_any_number_of_sounds() -> None:
    assert GriffinLimVocoder(iterations=1)(torch.full((2, 12, 64), -6.0)).shape == (2, 12 * HOP)
