"""Kaldi's log-mel filter bank in torch, with the options of ImageBind's training.

It follows the definition (Kaldi's feature-fbank, as torchaudio's `compliance.kaldi.fbank` computes it), because
ImageBind was trained with exactly this input. One function does not justify a dependency on torchaudio.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

RATE = 16_000
"""Samples per second."""
_WINDOW = 400  # samples, 25 ms
_HOP = 160  # samples, 10 ms
_FFT = 512  # samples
_LOWEST = 20.0  # Hz
_PREEMPHASIS = 0.97


def fbank(sound: Tensor, bins: int) -> Tensor:
    """Return the natural log of the mel energies of a 16 kHz sound in [-1, 1].

    Shape: (samples,) -> (frames, bins) with frames = 1 + (samples - 400) // 160. The options are: Hann window, power
    spectrum, mel bands from 20 Hz to 8 kHz, no dither, no energy column. A sound shorter than 25 ms is padded to one
    frame.
    """
    if len(sound) < _WINDOW:
        sound = torch.nn.functional.pad(sound, (0, _WINDOW - len(sound)))
    frames = sound.float().unfold(0, _WINDOW, _HOP)  # (frames, window)
    frames = frames - frames.mean(dim=1, keepdim=True)
    previous = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * previous) * torch.hann_window(_WINDOW, periodic=False)
    power = torch.fft.rfft(frames, _FFT).abs().square()  # (frames, 257)
    # Kaldi ignores the Nyquist bin.
    energies = power[:, : _FFT // 2] @ _mel_filters(bins).T
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


@cache
def _mel_filters(bins: int) -> Tensor:
    """Return the triangular filters, (bins, 256). Their spacing is uniform and their sides are straight in mel."""
    low, high = _mel(_LOWEST), _mel(RATE / 2)
    edges = torch.linspace(low, high, bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mels = torch.tensor([_mel(RATE / _FFT * i) for i in range(_FFT // 2)], dtype=torch.float64)
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)
