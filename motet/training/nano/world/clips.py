"""Clips of the nano world: a noun that moves, grows, turns or rests on a white ground, for two seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.training.nano.world import pictures
from motet.training.nano.world.world import CLIP_BACKGROUND

FRAMES = 8
FRAMES_PER_SECOND = 4
# Half the way a moving noun travels, in pixels: at its size it just stays within the frame.
_REACH = 15.0
_SIZE = 0.62
# Of a turning noun: at any angle it just stays within the frame.
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
    """The noun in motion, uint8 (8, 64, 64, 3).

    `scale` multiplies its usual size, and `offset` (right, down) moves the whole way, in pixels. Growing is
    from 0.4 to 1 of a picture's size; turning is half a turn counterclockwise. Raises ValueError for another motion.
    """
    return np.stack([_frame(noun, motion, style, scale, offset, t) for t in np.linspace(0, 1, FRAMES)])


def rest(noun: str, turned: int) -> Clip:
    """The noun at rest, as it stands in the frame `turned` of its turning; uint8 (8, 64, 64, 3).

    A motion of no name: it shows what a noun looks like from below or from the side, and that it need not turn for it.
    """
    picture = pictures.draw(noun, CLIP_BACKGROUND, scale=_TURNING_SIZE, angle=180 * turned / (FRAMES - 1))
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
