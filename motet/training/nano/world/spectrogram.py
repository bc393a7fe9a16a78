"""Log-mel spectrograms for AudioLDM's vocoder: 16 kHz, 64 bands up to 8 kHz, one frame per 10 ms."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from motet.training.nano.world.sounds import RATE

BANDS = 64
HOP = 160
_WINDOW = 1024
_FLOOR = 1e-5


def log_mel(waves: Tensor) -> Tensor:
    """Return the natural logarithm of the bands' magnitudes, at least -11.5: (n, samples) to (n, samples / 160, 64)."""
    pad = (_WINDOW - HOP) // 2
    padded = functional.pad(waves[:, None], (pad, pad), mode="reflect")[:, 0]
    return (magnitudes(padded, _WINDOW, HOP, centred=False) @ _bands()).clamp(min=_FLOOR).log()


def magnitudes(waves: Tensor, window: int, hop: int, centred: bool = True) -> Tensor:
    """Return the magnitudes of the short-time Fourier transform with a Hann window.

    The input is (n, samples), the output (n, frames, window / 2 + 1). A `centred` transform pads the signal so that the
    first frame is centred at sample 0.
    """
    spectrum = torch.stft(waves, window, hop, window=_hann(window), center=centred, return_complex=True)
    # The constant 1e-9 keeps the gradient finite at silence.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt().transpose(1, 2)


@cache
def _hann(window: int) -> Tensor:
    return torch.hann_window(window)


@cache
def _bands() -> Tensor:
    """Return triangular filters on Slaney's mel scale, each of unit area, (513, 64)."""
    edges = _hertz(torch.linspace(0, _mel(RATE / 2), BANDS + 2, dtype=torch.float64))
    bins = torch.linspace(0, RATE / 2, _WINDOW // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * 2 / (edges[2:] - edges[:-2])).float()


# Slaney's scale is linear up to 1 kHz (15 mel), then has 27 mel for each factor of 6.4.
_LOG_STEP = torch.tensor(6.4).log().item() / 27


def _mel(hertz: float) -> float:
    return 15 + torch.tensor(hertz / 1000).log().item() / _LOG_STEP


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel - 15) * _LOG_STEP).exp())
