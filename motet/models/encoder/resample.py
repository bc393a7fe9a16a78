"""Sounds at another sample rate, by band-limited interpolation (J. O. Smith, Digital Audio Resampling)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_ZEROS = 6  # zero crossings of the sinc on each side
_ROLLOFF = 0.99  # of the lower Nyquist frequency: what is above is left out


def resampled(sound: Tensor, rate: int, wanted: int) -> Tensor:
    """A sound of `rate` samples a second at `wanted` ones.

    Shape: (samples,) -> (ceil(samples * wanted / rate),)
    """
    if rate == wanted:
        return sound
    divisor = math.gcd(rate, wanted)
    old, new = rate // divisor, wanted // divisor
    # After each `old` samples the two grids meet again: `new` kernels, one per place between, are all there are.
    kernels, reach = _kernels(old, new)
    padded = functional.pad(sound.float(), (reach, reach + old))
    found = functional.conv1d(padded[None, None], kernels[:, None], stride=old)[0]  # (new, periods)
    return found.T.reshape(-1)[: math.ceil(len(sound) * new / old)]


def _kernels(old: int, new: int) -> tuple[Tensor, int]:
    """The windowed sinc at each of the `new` places of a period, (new, 2 * reach + old), and its reach in samples."""
    cutoff = min(old, new) * _ROLLOFF
    reach = math.ceil(_ZEROS * old / cutoff)
    samples = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    places = torch.arange(new, dtype=torch.float64) / new
    distance = ((samples[None] - places[:, None]) * cutoff).clamp(-_ZEROS, _ZEROS)
    window = torch.cos(distance * math.pi / (2 * _ZEROS)).square()
    return (torch.sinc(distance) * window * cutoff / old).float(), reach
