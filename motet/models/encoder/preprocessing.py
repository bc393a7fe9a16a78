"""ImageBind's preprocessing, which follows the reference: decoded media become the views that the network encodes.

One item has several views: clips of a sound, or crops of clips of a video. The item's embedding is the mean of its
views' embeddings. Short or square media have equal views. Equal views are computed once and have a weight, which does
not change the mean.
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
from motet.models.encoder.resample import resample

EDITION = 1
"""The edition of the views. Increase it with every change, here or in an imported function, that changes views."""

# CLIP's channel statistics, sRGB in [0, 1].
_MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))
_DEVIATION = torch.tensor((0.26862954, 0.26130258, 0.27577711))

_SECONDS = 2.0  # length of a clip
_SOUND_CLIPS = 3
_VIDEO_CLIPS = 5


@dataclass(frozen=True, slots=True)
class Views:
    """The different views of one item.

    `pixels` is the input of the network, one view per row. `weights` (views,) sums to 1.
    """

    pixels: Tensor
    weights: Tensor


def picture_views(picture: NDArray[np.uint8], size: int) -> Views:
    """Return one view of a picture (height, width, 3): shorter side scaled to `size` (bicubic), centre crop."""
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
    """Return the views of a mono sound: normalised log-mel spectrograms of three evenly spaced clips of two seconds."""
    wave = resample(torch.from_numpy(np.ascontiguousarray(sound)), rate, RATE)
    starts = Counter(clip_starts(len(wave) / RATE, _SOUND_CLIPS))
    clips = [mel_picture(wave[int(start * RATE) : int((start + _SECONDS) * RATE)], config) for start in starts]
    return Views(torch.stack(clips), _weights(starts))


def mel_picture(wave: Tensor, config: SoundConfig) -> Tensor:
    """Return the audio encoder's input for a 16 kHz clip, (1, bins, frames): zero-padded or cut, then normalised."""
    mels = fbank(wave - wave.mean(), config.bins).T[:, : config.frames]
    padded = functional.pad(mels, (0, config.frames - mels.shape[1]))
    return ((padded - config.mean) / config.deviation)[None]


def clip_views(frames: NDArray[np.uint8], rate: float, size: int) -> Views:
    """Return the views of a video (frames, height, width, 3) at `rate` frames per second.

    They are five clips of two seconds with three crops each. A view has only the first and the last frame of its clip.
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
    """Return the start, in seconds, of each of `clips` evenly spaced clips of two seconds.

    If the recording is not longer than two seconds, all clips start at 0.
    """
    last = max(seconds - _SECONDS, 0.0)
    return [last * i / max(clips - 1, 1) for i in range(clips)]


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


def _weights(times: Counter[float]) -> Tensor:
    counts = torch.tensor(list(times.values()), dtype=torch.float32)
    return counts / counts.sum()
