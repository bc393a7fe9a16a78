"""The parts of a recording that an encoder reads."""

from __future__ import annotations

import math
from fractions import Fraction

from motet.core.preprocessing import Preprocessing

SECONDS = 2
"""Length of a part, in seconds."""

CLIP_PARTS = 5
"""Number of parts of a clip."""


def starts_of_parts(seconds: float, parts: int, preprocessing: Preprocessing) -> list[Fraction]:
    """Return the start, in seconds, of each of `parts` evenly spaced parts of `SECONDS` seconds.

    If the recording is not longer than a part, all parts start at 0.
    """
    last = max(Fraction(seconds) - SECONDS, Fraction(0))
    steps = parts if preprocessing.clip_starts == "before_end" else max(parts - 1, 1)
    if preprocessing.rounding == "float":
        return [Fraction(float(last) * i / steps) for i in range(parts)]
    return [last * i / steps for i in range(parts)]


def ends_of_parts(frames: int, rate: float, preprocessing: Preprocessing) -> list[tuple[int, int]]:
    """Return the first and the last frame of each part of a clip with `frames` frames, at `rate` frames per second."""
    ends = []
    for start in starts_of_parts(frames / rate, CLIP_PARTS, preprocessing):
        first = min(math.ceil(rate * float(start)), frames - 1)
        last = min(math.ceil(rate * float(start + SECONDS)), frames) - 1
        ends.append((first, max(first, last)))
    return ends
