"""Clips of the nano world: for two seconds a noun moves, grows, turns, rocks or rests.

A clip has a white background. An animation of a picture begins with the picture and keeps its background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motet.training.nano.world import pictures
from motet.training.nano.world.world import CLIP_BACKGROUND, MOTIONS

FRAMES = 8
FRAMES_PER_SECOND = 4
# Half the path of a moving noun, in pixels. A noun of `_SIZE` stays just inside the frame.
_REACH = 15.0
_SIZE = 0.62
# The scale of a turning noun. The noun stays just inside the frame at any angle.
_TURNING_SIZE = 0.85
# How far a rocking noun leans to each side, in degrees.
_ROCKING = 30.0
# The path of the noun of an animated picture, in pixels, and its final size. A noun of a picture fills the frame, so it
# leaves the frame in part. With a path of 20 pixels the denoiser lost the noun.
_ANIMATED_PATH = 13.0
_ANIMATED_GROWTH = 1.35
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
    _check_motion(motion)
    return np.stack([_frame(noun, motion, style, scale, offset, t) for t in np.linspace(0, 1, FRAMES)])


def at_rest(noun: str, frame: int) -> Clip:
    """Return a clip of the noun at rest, at the angle of that `frame` of a turning clip; uint8 (8, 64, 64, 3).

    Such a clip has no named motion. It shows a noun upside down or on its side without a turn.
    """
    picture = pictures.draw(noun, CLIP_BACKGROUND, scale=_TURNING_SIZE, angle=180 * frame / (FRAMES - 1))
    return np.stack([picture] * FRAMES)


def rocking(noun: str, angle: float, phase: float) -> Clip:
    """Return a clip of the noun that rocks to and fro around an angle, uint8 (8, 64, 64, 3).

    It rocks by 30 degrees to each side, once, and begins at the `phase`, a number from 0 to 1. Such a clip has no named
    motion. Each step is about as large as one of a turning clip, but the noun makes no turn.
    """
    angles = angle + _ROCKING * np.sin(2 * np.pi * (np.linspace(0, 1, FRAMES) + phase))
    return np.stack([pictures.draw(noun, CLIP_BACKGROUND, scale=_TURNING_SIZE, angle=each) for each in angles])


def animate(
    noun: str, background: str, motion: str, scale: float = 1.0, offset: tuple[float, float] = (0.0, 0.0)
) -> Clip:
    """Return an animation of the picture with these arguments, uint8 (8, 64, 64, 3). Its first frame is the picture.

    A moving noun leaves its place, a growing one becomes a third larger, and a turning one makes half a turn
    counterclockwise. Raise ValueError for an unknown motion.
    """
    _check_motion(motion)
    x, y = (_ANIMATED_PATH / _REACH * step for step in _DIRECTIONS.get(motion, (0.0, 0.0)))
    growth = _ANIMATED_GROWTH - 1 if motion == "growing" else 0.0
    half_turn = 180.0 if motion == "turning" else 0.0
    frames = []
    for t in np.linspace(0, 1, FRAMES):
        place = (offset[0] + x * t, offset[1] + y * t)
        frames.append(pictures.draw(noun, background, "google", scale * (1 + growth * t), place, half_turn * t))
    return np.stack(frames)


def _check_motion(motion: str) -> None:
    if motion not in MOTIONS:
        raise ValueError(f"no motion is called {motion!r}: take one of motet.training.nano.world.world.MOTIONS")


def _frame(noun: str, motion: str, style: str, scale: float, offset: tuple[float, float], t: float) -> pictures.Picture:
    size, (right, down), angle = _SIZE, offset, 0.0
    if motion in _DIRECTIONS:
        x, y = _DIRECTIONS[motion]
        right, down = right + x * (2 * t - 1), down + y * (2 * t - 1)
    elif motion == "growing":
        size = 0.4 + 0.6 * t
    else:
        size, angle = _TURNING_SIZE, 180 * t
    return pictures.draw(noun, CLIP_BACKGROUND, style, size * scale, (right, down), angle)
