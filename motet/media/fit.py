"""The adaptation of decoded media to a model or to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def fit_picture(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture in another size: scaled until it fills the size, with the centre of the longer side."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.LANCZOS))


def fit_sound(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Return a sound of `samples` samples: a longer sound is cut at its end, a shorter one is followed by silence."""
    return np.pad(sound[:samples], (0, max(0, samples - len(sound))))
