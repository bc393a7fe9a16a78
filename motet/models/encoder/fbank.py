"""Kaldi's log-mel filter bank in torch, with the options ImageBind was trained with.

Written from the definition (Kaldi's feature-fbank, as torchaudio's `compliance.kaldi.fbank` computes it) because
ImageBind's sounds must be read exactly so, and one function does not justify a dependency.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

RATE = 16_000
_WINDOW = 400  # 25 ms
_HOP = 160  # 10 ms
_FFT = 512
_LOWEST = 20.0  # Hz
_PREEMPHASIS = 0.97


def fbank(sound: Tensor, bins: int) -> Tensor:
    """The natural log of the mel energies of a 16 kHz sound in [-1, 1].

    Shape: (samples,) -> (frames, bins) with frames = 1 + (samples - 400) // 160. No dither, no energy column;
    Hann window, power spectrum, mel bands from 20 Hz to 8 kHz. A sound of under 25 ms is padded to one frame.
    """
    if len(sound) < _WINDOW:
        sound = torch.nn.functional.pad(sound, (0, _WINDOW - len(sound)))
    frames = sound.float().unfold(0, _WINDOW, _HOP)  # (frames, window)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    frames = (frames - _PREEMPHASIS * before) * torch.hann_window(_WINDOW, periodic=False)
    power = torch.fft.rfft(frames, _FFT).abs().square()  # (frames, 257)
    # Kaldi leaves out the Nyquist bin.
    energies = power[:, : _FFT // 2] @ _bank(bins).T
    return energies.clamp(min=torch.finfo(torch.float32).eps).log()


@cache
def _bank(bins: int) -> Tensor:
    """The triangular filters, (bins, 256), evenly spaced and straight-sided in mel."""
    low, high = _mel(_LOWEST), _mel(RATE / 2)
    edges = torch.linspace(low, high, bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mels = torch.tensor([_mel(RATE / _FFT * i) for i in range(_FFT // 2)], dtype=torch.float64)
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)
