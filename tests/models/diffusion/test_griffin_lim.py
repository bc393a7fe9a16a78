"""The vocoder's phase reconstruction, without its network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from motet.models.diffusion.griffin_lim import GriffinLimVocoder, steady_phases

RATE, HOP, WINDOW, FRAMES = 16000, 160, 1024, 60


class ExactVocoder(GriffinLimVocoder):  # type: ignore[misc]
    """A vocoder whose network is replaced by the exact magnitudes."""

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
def test_a_tone_keeps_its_pitch_and_loudness(hertz: float) -> None:
    expected = tone(hertz)
    wave = ExactVocoder(magnitudes(expected))(torch.zeros(1, FRAMES, 64))
    assert wave.shape == expected.shape
    assert pitch(wave[0]) == pytest.approx(hertz, abs=0.7)
    assert wave[:, 1000:-1000].std().item() == pytest.approx(expected.std().item(), rel=0.05)


@torch.no_grad()
def test_the_spectrum_of_several_tones_is_nearly_unchanged() -> None:
    expected = magnitudes(tone(110, 220, 330, 550, 880))
    actual = magnitudes(ExactVocoder(expected)(torch.zeros(1, FRAMES, 64)))
    assert (actual - expected).norm() < 0.1 * expected.norm()


@torch.no_grad()
def test_five_iterations_are_enough_for_steady_tones() -> None:
    # Starting from zero phases, five iterations leave an error of one third of the spectrum.
    expected = magnitudes(tone(440, 660))
    actual = magnitudes(ExactVocoder(expected, iterations=5)(torch.zeros(1, FRAMES, 64)))
    assert (actual - expected)[:, 5:-5].norm() < 0.05 * expected[:, 5:-5].norm()


@torch.no_grad()
def test_silence_and_noise_are_finite() -> None:
    for loudness in (0.0, 1.0):
        noise = loudness * torch.rand(1, 513, 10, generator=torch.Generator().manual_seed(0))
        assert torch.isfinite(steady_phases(noise, HOP)).all()
        assert torch.isfinite(ExactVocoder(noise.transpose(1, 2))(torch.zeros(1, 10, 64))).all()


@torch.no_grad()
def test_the_network_accepts_several_sounds() -> None:
    assert GriffinLimVocoder(iterations=1)(torch.full((2, 12, 64), -6.0)).shape == (2, 12 * HOP)
