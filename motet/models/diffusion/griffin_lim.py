"""A vocoder that trains in minutes: a small network computes the spectrogram, and Griffin-Lim finds the phases.

A convolutional vocoder on log-mel input needs long adversarial training. Before that, the period of every tone is the
length of a frame, at any pitch. This vocoder takes the pitch from the magnitudes, so the pitch is correct without
training. It has two stages: regression from log-mel to linear magnitudes, as in Tacotron's post-net (Wang et al. 2017,
section 3.4), and phases by the fast Griffin-Lim algorithm (Perraudin et al. 2013), starting from the phases of steady
tones.
"""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

_MOMENTUM = 0.99
"""The momentum of the fast Griffin-Lim algorithm."""


class GriffinLimVocoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A vocoder: log-mel (n, frames, model_in_dim) -> samples (n, frames * hop). It is deterministic.

    Its interface and its input are those of transformers' `SpeechT5HifiGan`.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        model_in_dim: int = 64,
        sampling_rate: int = 16000,
        hop: int = 160,
        window: int = 1024,
        width: int = 256,
        iterations: int = 30,
        mean: float = -6.0,
        deviation: float = 3.0,
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(model_in_dim, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 3, padding=1)
        self.third = nn.Conv1d(width, width, 3, padding=1)
        self.last = nn.Conv1d(width, window // 2 + 1, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Return the samples, (n, frames * hop)."""
        # There is no Fourier transform in half precision on every device.
        magnitudes = self.log_magnitudes(mel).float().exp().transpose(1, 2)
        frames = mel.shape[1]
        # Repeat the last frame, because the last hop needs a frame at both ends.
        magnitudes = torch.cat([magnitudes, magnitudes[..., -1:]], dim=-1)
        spectrum = magnitudes * steady_phases(magnitudes, self.config.hop)
        previous = torch.zeros_like(spectrum)
        for _ in range(self.config.iterations):
            projected = self._stft(self._istft(spectrum, frames))
            accelerated = projected + _MOMENTUM * (projected - previous)
            previous = projected
            spectrum = magnitudes * accelerated / accelerated.abs().clamp(min=1e-9)
        return self._istft(spectrum, frames)

    def log_magnitudes(self, mel: Tensor) -> Tensor:
        """Return the natural logarithms of the short-time spectrum's magnitudes, (n, frames, window / 2 + 1)."""
        x = (mel.transpose(1, 2) - self.config.mean) / self.config.deviation
        x = functional.silu(self.first(x))
        x = x + functional.silu(self.second(x))
        x = x + functional.silu(self.third(x))
        logarithms: Tensor = self.last(x).transpose(1, 2) * self.config.deviation + self.config.mean
        return logarithms

    def _istft(self, spectrum: Tensor, frames: int) -> Tensor:
        window, hop = self.config.window, self.config.hop
        hann = torch.hann_window(window, device=spectrum.device)
        wave: Tensor = torch.istft(spectrum, window, hop, window=hann, length=frames * hop)
        return wave

    def _stft(self, waves: Tensor) -> Tensor:
        window, hop = self.config.window, self.config.hop
        hann = torch.hann_window(window, device=waves.device)
        return torch.stft(waves, window, hop, window=hann, return_complex=True)


def steady_phases(magnitudes: Tensor, hop: int) -> Tensor:
    """Return unit phasors (n, bins, frames) that treat every peak of a frame as a steady tone.

    The phase of each bin advances by the frequency of the nearest peak. A parabola gives that frequency between two
    bins (single-pass spectrogram inversion: Beauregard, Harish and Wyse 2015).
    """
    bins, device = magnitudes.shape[1], magnitudes.device
    logarithms = magnitudes.clamp(min=1e-9).log()
    inner = logarithms[:, 1:-1]
    lower, upper = logarithms[:, :-2], logarithms[:, 2:]
    curvature = (2 * inner - lower - upper).clamp(min=1e-6)
    positions = torch.arange(1, bins - 1, device=device)[:, None] + (0.5 * (upper - lower) / curvature).clamp(-0.5, 0.5)
    is_peak = (inner >= lower) & (inner > upper)
    peaks = _nearest_peaks(functional.pad(is_peak, (0, 0, 1, 1)), magnitudes)
    frequencies = functional.pad(positions, (0, 0, 1, 1)).gather(1, peaks)
    advance = 2 * math.pi * frequencies * hop / (2 * (bins - 1))
    # With a centred window, the bins next to a peak alternate in sign.
    sign = 1 - 2 * (torch.arange(bins, device=device)[:, None] % 2)
    return torch.polar(torch.ones_like(magnitudes), advance.cumsum(dim=-1)) * sign


def _nearest_peaks(is_peak: Tensor, magnitudes: Tensor) -> Tensor:
    """Return the bin of the nearest peak for each bin, the lower of two equally near; bin 1 if a frame has no peak."""
    bins = torch.arange(is_peak.shape[1], device=magnitudes.device)[:, None].expand_as(magnitudes)
    below = torch.where(is_peak, bins, -10_000).cummax(dim=1).values
    above = torch.where(is_peak, bins, 10_000).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(bins - below <= above - bins, below, above)
    return torch.where((nearest < 0) | (nearest >= is_peak.shape[1]), 1, nearest)
