"""A change of sample rate by band-limited interpolation (J. O. Smith, Digital Audio Resampling)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_ZEROS = 6  # zero crossings of the sinc on each side
_ROLLOFF = 0.99  # cutoff as a fraction of the lower Nyquist frequency


def resample(sound: Tensor, rate: int, target_rate: int) -> Tensor:
    """Change the sample rate of a sound from `rate` to `target_rate` samples per second.

    Shape: (samples,) -> (ceil(samples * target_rate / rate),)
    """
    if rate == target_rate:
        return sound
    divisor = math.gcd(rate, target_rate)
    old, new = rate // divisor, target_rate // divisor
    # The two sample grids coincide again after `old` samples, so `new` kernels are enough, one per output position.
    kernels, reach = _kernels(old, new)
    padded = functional.pad(sound.float(), (reach, reach + old))
    output = functional.conv1d(padded[None, None], kernels[:, None], stride=old)[0]  # (new, periods)
    return output.T.reshape(-1)[: math.ceil(len(sound) * new / old)]


def _kernels(old: int, new: int) -> tuple[Tensor, int]:
    """Return the windowed sinc for each output position, (new, 2 * reach + old), and its reach in samples."""
    cutoff = min(old, new) * _ROLLOFF
    reach = math.ceil(_ZEROS * old / cutoff)
    samples = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    positions = torch.arange(new, dtype=torch.float64) / new
    distance = ((samples[None] - positions[:, None]) * cutoff).clamp(-_ZEROS, _ZEROS)
    window = torch.cos(distance * math.pi / (2 * _ZEROS)).square()
    return (torch.sinc(distance) * window * cutoff / old).float(), reach
