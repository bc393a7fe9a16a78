"""One reading of a file in the confined child: its order, its result and its errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motet.core.preprocessing import Preprocessing
from motet.media.limits import MediaLimits

Facts = dict[str, Any]
"""Names and numbers, see `motet.media.confined.Facts`."""

Output = Literal["facts", "elements", "views"]
"""The output of a child: the facts only, or also all elements, or also the elements that the encoder's views need.

The views of a clip need only the first and the last frame of a few parts of the clip.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """The order for one reading.

    The reader calls `promise` with the predicted seconds of work as soon as the header allows a prediction. It raises
    `DecodeError` if that is too much.
    """

    media_type: str
    limits: MediaLimits
    preprocessing: Preprocessing
    output: Output
    promise: Callable[[float], None]


Reader = Callable[[bytes, Reading], tuple[Facts, Sequence[bytes]]]
"""A function from a file's bytes to its facts and raw elements. It raises `DecodeError` or the codec's error."""


class DecodeError(Exception):
    """The bytes cannot be decoded or exceed a limit. `motet.media.confined` lists the codes and their messages.

    `value` is the number that exceeds the limit.
    """

    def __init__(self, code: str, value: float = 0) -> None:
        super().__init__(code)
        self.code, self.value = code, value


def check_sides(width: int, height: int, limits: MediaLimits) -> None:
    """Raise `DecodeError` if a picture has no pixels, too many pixels or too long a side."""
    if width < 1 or height < 1:
        raise DecodeError("empty")
    if width * height > limits.pixels:
        raise DecodeError("pixels", width * height)
    if max(width, height) > limits.aspect * min(width, height):
        raise DecodeError("aspect", max(width, height) / min(width, height))
