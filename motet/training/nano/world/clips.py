"""Clips of the nano world: for two seconds a noun moves, grows, turns or rests on a white background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.training.nano.world import pictures
from motet.training.nano.world.world import CLIP_BACKGROUND

FRAMES = 8
FRAMES_PER_SECOND = 4
# Half the path of a moving noun, in pixels. A noun of `_SIZE` stays just inside the frame.
_REACH = 15.0
_SIZE = 0.62
# The scale of a turning noun. The noun stays just inside the frame at any angle.
_TURNING_SIZE = 0.85
_DIRECTIONS = {
    "moving left": (-_REACH, 0.0),
    "moving right": (_REACH, 0.0),
    "moving up": (0.0, -_REACH),
    "moving down": (0.0, _REACH),
}

Clip = NDArray[np.uint8]


def draw(
    noun: str, motion: str, style: str = "google", scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)
) -> Clip:
    """Return a clip of the noun in motion, uint8 (8, 64, 64, 3).

    `scale` multiplies the noun's usual size, and `offset` (right, down) moves the whole path, in pixels. A growing noun
    grows from 0.4 to 1 of its size in a picture. A turning noun makes half a turn counterclockwise. Raise ValueError
    for an unknown motion.
    """
    return np.stack([_frame(noun, motion, style, scale, offset, t) for t in np.linspace(0, 1, FRAMES)])


def at_rest(noun: str, frame: int) -> Clip:
    """Return a clip of the noun at rest, at the angle of that `frame` of a turning clip; uint8 (8, 64, 64, 3).

    Such a clip has no named motion. It shows a noun upside down or on its side without a turn.
    """
    picture = pictures.draw(noun, CLIP_BACKGROUND, scale=_TURNING_SIZE, angle=180 * frame / (FRAMES - 1))
    return np.stack([picture] * FRAMES)


def _frame(noun: str, motion: str, style: str, scale: float, offset: tuple[float, float], t: float) -> pictures.Picture:
    size, (right, down), angle = _SIZE, offset, 0.0
    if motion in _DIRECTIONS:
        x, y = _DIRECTIONS[motion]
        right, down = right + x * (2 * t - 1), down + y * (2 * t - 1)
    elif motion == "growing":
        size = 0.4 + 0.6 * t
    elif motion == "turning":
        size, angle = _TURNING_SIZE, 180 * t
    else:
        raise ValueError(f"no motion is called {motion!r}: take one of motet.training.nano.world.world.MOTIONS")
    return pictures.draw(noun, CLIP_BACKGROUND, style, size * scale, (right, down), angle)
