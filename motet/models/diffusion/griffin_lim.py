"""A vocoder that learns in minutes: a small net sharpens the spectrogram, and an algorithm finds the phases.

A convolutional vocoder on log-mel input turns a steady tone into one that repeats with every frame, whatever its
pitch, until long adversarial training has taught it otherwise. Here the pitch is in the magnitudes, so it is right
from the start: log-mel to linear magnitudes by regression, as Tacotron's post-net does (Wang et al. 2017, section
3.4), then phases by the fast Griffin-Lim algorithm (Perraudin et al. 2013), begun from the phases of steady tones.
"""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

_MOMENTUM = 0.99


class GriffinLimVocoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """(n, frames, model_in_dim) log-mel -> (n, frames * hop) samples; equal input gives equal output.

    It is used like transformers' `SpeechT5HifiGan`, and its input is the same.
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
        """The waves."""
        magnitudes = self.log_magnitudes(mel).exp().transpose(1, 2)
        frames = mel.shape[1]
        # One frame more closes the last hop.
        magnitudes = torch.cat([magnitudes, magnitudes[..., -1:]], dim=-1)
        spectrum = magnitudes * steady_phases(magnitudes, self.config.hop)
        before = torch.zeros_like(spectrum)
        for _ in range(self.config.iterations):
            again = self._analyse(self._synthesise(spectrum, frames))
            ahead = again + _MOMENTUM * (again - before)
            before = again
            spectrum = magnitudes * ahead / ahead.abs().clamp(min=1e-9)
        return self._synthesise(spectrum, frames)

    def log_magnitudes(self, mel: Tensor) -> Tensor:
        """(n, frames, window / 2 + 1): natural logarithms of the short-time spectrum's magnitudes."""
        x = (mel.transpose(1, 2) - self.config.mean) / self.config.deviation
        x = functional.silu(self.first(x))
        x = x + functional.silu(self.second(x))
        x = x + functional.silu(self.third(x))
        logarithms: Tensor = self.last(x).transpose(1, 2) * self.config.deviation + self.config.mean
        return logarithms

    def _synthesise(self, spectrum: Tensor, frames: int) -> Tensor:
        window, hop = self.config.window, self.config.hop
        wave: Tensor = torch.istft(spectrum, window, hop, window=torch.hann_window(window), length=frames * hop)
        return wave

    def _analyse(self, waves: Tensor) -> Tensor:
        window, hop = self.config.window, self.config.hop
        return torch.stft(waves, window, hop, window=torch.hann_window(window), return_complex=True)


def steady_phases(magnitudes: Tensor, hop: int) -> Tensor:
    """Unit phasors (n, bins, frames) as if every peak of a frame were a steady tone.

    Each bin turns, from frame to frame, at the frequency of the peak it belongs to, found between bins by a parabola
    (single-pass spectrogram inversion: Beauregard, Harish and Wyse 2015).
    """
    count, bins, frames = magnitudes.shape
    logarithms = magnitudes.clamp(min=1e-9).log()
    inner = logarithms[:, 1:-1]
    lower, upper = logarithms[:, :-2], logarithms[:, 2:]
    curve = (2 * inner - lower - upper).clamp(min=1e-6)
    place = torch.arange(1, bins - 1)[:, None] + (0.5 * (upper - lower) / curve).clamp(-0.5, 0.5)
    is_peak = (inner >= lower) & (inner > upper)
    owner = _nearest_peak(functional.pad(is_peak, (0, 0, 1, 1)), magnitudes)
    frequencies = functional.pad(place, (0, 0, 1, 1)).gather(1, owner)
    advance = 2 * math.pi * frequencies * hop / (2 * (bins - 1))
    # Neighbours of a peak alternate in sign, as a centred window makes them.
    sign = 1 - 2 * (torch.arange(bins)[:, None] % 2)
    return torch.polar(torch.ones(count, bins, frames), advance.cumsum(dim=-1)) * sign


def _nearest_peak(is_peak: Tensor, magnitudes: Tensor) -> Tensor:
    """For each bin the bin of the peak nearest to it, of two the lower; bin 1 where a frame has none."""
    bins = torch.arange(is_peak.shape[1])[:, None].expand_as(magnitudes)
    below = torch.where(is_peak, bins, -10_000).cummax(dim=1).values
    above = torch.where(is_peak, bins, 10_000).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(bins - below <= above - bins, below, above)
    return torch.where((nearest < 0) | (nearest >= is_peak.shape[1]), 1, nearest)
