"""Pictures of the nano world: an emoji on a plain background, at a given position, size and angle."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motet.training.nano.world.world import BACKGROUNDS, NOUNS

SIZE = 64
STYLES = ("google", "twitter")
# The width of an upright emoji at scale 1, in pixels. The margin allows small moves and turns.
_WIDTH = 48

Picture = NDArray[np.uint8]


def draw(
    noun: str,
    background: str | tuple[int, int, int],
    style: str = "google",
    scale: float = 1.0,
    offset: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
) -> Picture:
    """Return a picture of the noun on the background, uint8 (64, 64, 3).

    The noun is one of `world.NOUNS` or `OUTSIDE_NOUNS`. `background` is a name of `world.BACKGROUNDS` or an sRGB
    colour. `offset` is (right, down) in pixels from the centre. `angle` is counterclockwise, in degrees. Pixels
    outside the frame are cropped.
    """
    colour = BACKGROUNDS[background] if isinstance(background, str) else background
    emoji = _emoji(noun, style)
    # One affine map from each pixel of the result to the emoji, so rotation, scale and offset need one resampling.
    shrink = emoji.width / (_WIDTH * scale)
    radians = np.deg2rad(angle)
    cos, sin = np.cos(radians) * shrink, np.sin(radians) * shrink
    x, y = SIZE / 2 + offset[0], SIZE / 2 + offset[1]
    centre = emoji.width / 2
    matrix = (cos, -sin, centre - cos * x + sin * y, sin, cos, centre - sin * x - cos * y)
    size = (SIZE, SIZE)
    drawn = emoji.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=(0, 0, 0, 0))
    canvas = Image.new("RGBA", size, (*colour, 255))
    canvas.alpha_composite(drawn)
    return np.asarray(canvas.convert("RGB"))


def save(picture: Picture, path: Path) -> None:
    """Write a picture, or a sheet of pictures, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def folder() -> Path:
    """Return the folder of the emoji packages: `MOTET_EMOJI`, by default `node_modules` in the current folder."""
    return Path(os.environ.get("MOTET_EMOJI", "node_modules"))


@cache
def _emoji(noun: str, style: str) -> Image.Image:
    package = folder() / f"emoji-datasource-{style}"
    names = _files(package)
    with Image.open(package / "img" / style / "64" / names[NOUNS.get(noun, noun)]) as picture:
        return picture.convert("RGBA")


@cache
def _files(package: Path) -> dict[str, str]:
    try:
        listing = json.loads((package / "emoji.json").read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no emoji in {package}: run `npm install emoji-datasource-google emoji-datasource-twitter` "
            "and set MOTET_EMOJI to the node_modules folder that npm created"
        ) from error
    return {name: entry["image"] for entry in listing for name in entry["short_names"]}
