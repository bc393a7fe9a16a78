"""ImageBind's preprocessing, which follows the reference: decoded media become the views that the network encodes.

One item has several views: clips of a sound, or crops of clips of a video. The item's embedding is the mean of its
views' embeddings. Short or square media have equal views. Equal views are computed once and have a weight, which does
not change the mean.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from motet.core.preprocessing import Preprocessing
from motet.media.clip_starts import SECONDS, ends_of_parts, starts_of_parts
from motet.models.encoder.fbank import RATE, fbank
from motet.models.encoder.network import SoundConfig
from motet.models.encoder.resample import resample

EDITION = 2
"""The edition of the views. Increase it with every change, here or in an imported function, that changes views."""

# CLIP's channel statistics, sRGB in [0, 1].
_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))
_DEVIATION = torch.tensor((0.26862954, 0.26130258, 0.27577711))

_SOUND_PARTS = 3

REFERENCE = Preprocessing()
"""The preprocessing of ImageBind's reference."""


class Frames(Protocol):
    """The frames of a clip, each uint8 of shape (height, width, 3), as far as the views need them."""

    def __len__(self) -> int:
        """Return the number of all frames of the clip."""
        ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        """Return a frame."""
        ...


@dataclass(frozen=True, slots=True)
class Views:
    """The different views of one item.

    `pixels` is the input of the network, one view per row. `weights` (views,) sums to 1.
    """

    pixels: Tensor
    weights: Tensor


def picture_views(picture: NDArray[np.uint8], size: int, preprocessing: Preprocessing = REFERENCE) -> Views:
    """Return one view of a picture (height, width, 3): shorter side scaled to `size` (bicubic), centre crop."""
    height, width = picture.shape[:2]
    sides = _scaled(width, height, size, preprocessing), _scaled(height, width, size, preprocessing)
    scaled = Image.fromarray(picture).resize(sides, Image.Resampling.BICUBIC)
    left, top = round((scaled.width - size) / 2), round((scaled.height - size) / 2)
    pixels = np.asarray(scaled.crop((left, top, left + size, top + size)))
    unit = torch.from_numpy(pixels.copy()).float() / 255
    return Views(((unit - _MEAN) / _DEVIATION).permute(2, 0, 1)[None], torch.ones(1))


def _scaled(side: int, other: int, size: int, preprocessing: Preprocessing) -> int:
    """Return the length of a side after the shorter side is scaled to `size`, rounded down."""
    if preprocessing.rounding == "float":
        return max(size, int(side * (size / min(side, other))))
    return max(size, size * side // other)


def sound_views(
    sound: NDArray[np.float32], rate: int, config: SoundConfig, preprocessing: Preprocessing = REFERENCE
) -> Views:
    """Return the views of a mono sound: normalised log-mel spectrograms of three evenly spaced parts of two seconds."""
    wave = resample(torch.from_numpy(np.ascontiguousarray(sound)), rate, RATE)
    starts = Counter(starts_of_parts(len(wave) / RATE, _SOUND_PARTS, preprocessing))
    samples = [(_sample(start, preprocessing), _sample(start + SECONDS, preprocessing)) for start in starts]
    return Views(torch.stack([mel_picture(wave[first:end], config) for first, end in samples]), _weights(starts))


def _sample(seconds: Fraction, preprocessing: Preprocessing) -> int:
    return int(float(seconds) * RATE) if preprocessing.rounding == "float" else int(seconds * RATE)


def mel_picture(wave: Tensor, config: SoundConfig) -> Tensor:
    """Return the audio encoder's input for a 16 kHz clip, (1, bins, frames): zero-padded or cut, then normalised."""
    mels = fbank(wave - wave.mean(), config.bins).T[:, : config.frames]
    padded = functional.pad(mels, (0, config.frames - mels.shape[1]))
    return ((padded - config.mean) / config.deviation)[None]


def clip_views(frames: Frames, rate: float, size: int, preprocessing: Preprocessing = REFERENCE) -> Views:
    """Return the views of a clip at `rate` frames per second.

    They are five parts of two seconds with three crops each. A view has only the first and the last frame of its part.
    """
    pairs = Counter(ends_of_parts(len(frames), rate, preprocessing))
    scaled = {index: _short_side(frames[index], size) for index in {i for pair in pairs for i in pair}}
    _, height, width = next(iter(scaled.values())).shape
    corners = Counter(_corners(height, width, size))
    pixels, weights = [], []
    for (first, last), times in pairs.items():
        for (top, left), crops in corners.items():
            both = torch.stack([scaled[first], scaled[last]], dim=1)  # (3, 2, height, width)
            pixels.append(both[:, :, top : top + size, left : left + size])
            weights.append(times * crops)
    return Views(torch.stack(pixels), torch.tensor(weights) / sum(weights))


def _short_side(frame: NDArray[np.uint8], size: int) -> Tensor:
    """Scale a frame's shorter side to `size` (bilinear, without antialiasing), and normalise it: (3, height, width)."""
    height, width = frame.shape[:2]
    long = math.floor(max(height, width) / min(height, width) * size)
    shape = (long, size) if width < height else (size, long)
    unit = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    scaled = functional.interpolate(unit, size=shape, mode="bilinear", align_corners=False)[0]
    return (scaled - _MEAN[:, None, None]) / _DEVIATION[:, None, None]


def _corners(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Return (top, left) of the three crops along the longer side: at its start, in its middle and at its end."""
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if height > width:
        return [(0, left), (top, left), (height - size, left)]
    return [(top, 0), (top, left), (top, width - size)]


def _weights(times: Counter[Fraction]) -> Tensor:
    counts = torch.tensor(list(times.values()), dtype=torch.float32)
    return counts / counts.sum()
