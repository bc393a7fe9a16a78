"""From decoded media to the views ImageBind looks at, as its reference preprocessing cuts them.

One piece of media becomes several views (clips of a sound, crops of clips of a video), whose embeddings are
averaged. Short or square media give many equal views; each is computed once and carries its weight, which
leaves the mean what it was.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from motet.models.encoder.fbank import RATE, fbank
from motet.models.encoder.network import SoundConfig
from motet.models.encoder.resample import resampled

EDITION = 1
"""Goes up with every change here, or in what is used here, that makes other views of the same media."""

# CLIP's channel statistics, sRGB in [0, 1].
_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))
_DEVIATION = torch.tensor((0.26862954, 0.26130258, 0.27577711))

_SECONDS = 2.0  # the length of a clip
_SOUND_CLIPS = 3
_VIDEO_CLIPS = 5


@dataclass(frozen=True, slots=True)
class Views:
    """The different views of one piece of media.

    `pixels` is what a tower takes, one view per row; `weights` (views,) sums to 1.
    """

    pixels: Tensor
    weights: Tensor


def picture_views(picture: NDArray[np.uint8], size: int) -> Views:
    """A picture, (height, width, 3): the shorter side scaled to `size` (bicubic), the centre cut out."""
    height, width = picture.shape[:2]
    scale = size / min(height, width)
    scaled = Image.fromarray(picture).resize(
        (max(size, int(width * scale)), max(size, int(height * scale))), Image.Resampling.BICUBIC
    )
    left, top = round((scaled.width - size) / 2), round((scaled.height - size) / 2)
    pixels = np.asarray(scaled.crop((left, top, left + size, top + size)))
    unit = torch.from_numpy(pixels.copy()).float() / 255
    return Views(((unit - _MEAN) / _DEVIATION).permute(2, 0, 1)[None], torch.ones(1))


def sound_views(sound: NDArray[np.float32], rate: int, config: SoundConfig) -> Views:
    """A mono sound: three clips of two seconds, spread evenly, each as a normalised log-mel picture."""
    wave = resampled(torch.from_numpy(np.ascontiguousarray(sound)), rate, RATE)
    starts = Counter(clip_starts(len(wave) / RATE, _SOUND_CLIPS))
    clips = [mel_picture(wave[int(start * RATE) : int((start + _SECONDS) * RATE)], config) for start in starts]
    return Views(torch.stack(clips), _weights(starts))


def mel_picture(wave: Tensor, config: SoundConfig) -> Tensor:
    """A 16 kHz clip as the audio tower takes it, (1, bins, frames): padded with zeros or cut, then normalised."""
    mels = fbank(wave - wave.mean(), config.bins).T[:, : config.frames]
    padded = functional.pad(mels, (0, config.frames - mels.shape[1]))
    return ((padded - config.mean) / config.deviation)[None]


def clip_views(frames: NDArray[np.uint8], rate: float, size: int) -> Views:
    """A video, (frames, height, width, 3) at `rate` frames a second: five clips of two seconds, three crops each.

    Of each clip only the first and the last frame are looked at.
    """
    pairs: Counter[tuple[int, int]] = Counter()
    for start in clip_starts(len(frames) / rate, _VIDEO_CLIPS):
        first = min(math.ceil(start * rate), len(frames) - 1)
        last = min(math.ceil((start + _SECONDS) * rate), len(frames)) - 1
        pairs[first, max(first, last)] += 1
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


def clip_starts(seconds: float, clips: int) -> list[float]:
    """When each of `clips` clips of two seconds begins, so that they cover a recording evenly.

    A recording of two seconds or less gives equal clips, all from its start.
    """
    last = max(seconds - _SECONDS, 0.0)
    return [last * i / max(clips - 1, 1) for i in range(clips)]


def _short_side(frame: NDArray[np.uint8], size: int) -> Tensor:
    """The frame scaled to a shorter side of `size` (bilinear, not antialiased) and normalised, (3, h, w)."""
    height, width = frame.shape[:2]
    long = math.floor(max(height, width) / min(height, width) * size)
    shape = (long, size) if width < height else (size, long)
    unit = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    scaled = functional.interpolate(unit, size=shape, mode="bilinear", align_corners=False)[0]
    return (scaled - _MEAN[:, None, None]) / _DEVIATION[:, None, None]


def _corners(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """The (top, left) of the three crops along the longer side: its start, its middle and its end."""
    top, left = math.ceil((height - size) / 2), math.ceil((width - size) / 2)
    if height > width:
        return [(0, left), (top, left), (height - size, left)]
    return [(top, 0), (top, left), (top, width - size)]


def _weights(times: Counter[float]) -> Tensor:
    counts = torch.tensor(list(times.values()), dtype=torch.float32)
    return counts / counts.sum()
