"""Pictures and pairs of frames to learn seeing from: the nano world, drawn roughly.

What a user attaches was scaled, compressed and photographed by others, and what a decoder made is a little blurred. So
each example is moved, turned, blurred, made noisy and compressed by chance; its labels stay.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from motet.models.encoder.network import ImageBindConfig
from motet.models.encoder.preprocessing import clip_views, picture_views
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.world.pictures import SIZE, STYLES, draw
from motet.training.nano.world.world import (
    BACKGROUNDS,
    CLIP_BACKGROUND,
    MOTIONS,
    MOVERS,
    NOUNS,
    Thing,
    chosen,
    held_out,
)

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Example:
    """What a tower is shown, and what it should say: attribute name to value, "" where nothing is to be said.

    `pitch` is in octaves from middle C, NaN where there is none to be told. `thing` is what is shown where both of its
    attributes are to be said: an answer that would make a held-out thing of it does not count as wrong.
    """

    pixels: Tensor
    labels: Mapping[str, str]
    pitch: float = math.nan
    thing: Thing | None = None


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an emoji is in a frame: offset in pixels from the centre, scale, and angle in degrees."""

    x: float
    y: float
    scale: float
    angle: float


class VisionExamples:
    """Draws pictures, and first and last frames of clips, of all things that are (or are not) held out.

    Who has only met whole combinations tells things by them ("never a trumpet on yellow") and fails at those held
    out. So in practice nouns are told on grounds and in motions of no name, motions mostly from nouns that no clip
    is made of, and whole things seldom say all that they are.
    """

    def __init__(self, config: ImageBindConfig, held_out: bool) -> None:
        self._size = config.vision.size
        self._practice = not held_out
        self._pictures, self._clips = chosen("image", held_out), chosen("video", held_out)

    def draw(self, generator: np.random.Generator) -> Example:
        """One example: half are pictures, the others clips; (3, 2, size, size)."""
        still = generator.random() < 0.5
        if self._practice and generator.random() < 0.6:
            return self._free_picture(generator) if still else self._free_clip(generator)
        thing = pick(generator, self._pictures if still else self._clips)
        silent = self._practice and generator.random() < 0.95
        noun = "" if silent else thing.subject
        if still:
            frames = rough_picture(thing, generator)[None]
            return self._example(frames, noun, thing.manner, "still")
        motion = "" if silent else thing.manner
        return self._example(rough_ends(thing, generator), noun, CLIP_BACKGROUND, motion)

    def _free_picture(self, generator: np.random.Generator) -> Example:
        """Any noun on a ground of no name."""
        noun = pick(generator, tuple(NOUNS))
        return self._example(nameless_picture(noun, generator), noun, "", "still")

    def _free_clip(self, generator: np.random.Generator) -> Example:
        """Any noun in a motion of no name, or in one that it may be practised in.

        The motion is named for nouns alone that no clip is made of: none of their combinations is held out.
        """
        noun, motion = pick(generator, tuple(NOUNS)), pick(generator, MOTIONS)
        named = generator.random() < 0.6 and not (noun in MOVERS and held_out(Thing("video", noun, motion)))
        poses = ends(motion, generator) if named else [_anywhere(generator), _anywhere(generator)]
        ground = patchy(generator) if generator.random() < 0.4 else BACKGROUNDS[CLIP_BACKGROUND]
        frames = roughened(_posed(noun, ground, poses, generator), generator)
        said = motion if named and noun not in MOVERS else ""
        return self._example(frames, noun, CLIP_BACKGROUND if isinstance(ground, tuple) else "", said)

    def _example(self, frames: Picture, noun: str, background: str, motion: str) -> Example:
        pixels = still(frames[0], self._size) if len(frames) == 1 else clip_views(frames, 1.0, self._size).pixels[0]
        return Example(pixels, {"noun": noun, "background": background, "motion": motion})


def still(picture: Picture, size: int) -> Tensor:
    """A picture as the vision tower takes it, as a clip of two equal frames, (3, 2, size, size)."""
    return picture_views(picture, size).pixels[0].unsqueeze(1).expand(-1, 2, -1, -1)


def nameless_picture(noun: str, generator: np.random.Generator) -> Picture:
    """The noun on a patchy ground, or on a colour of no name, (1, 64, 64, 3)."""
    ground = patchy(generator) if generator.random() < 0.4 else free_colour(noun, generator)
    return roughened(_posed(noun, ground, [_rest(generator)], generator), generator)


def nameless_ends(noun: str, generator: np.random.Generator) -> Picture:
    """The noun in two places that no motion joins, on the ground of clips, (2, 64, 64, 3)."""
    poses = [_anywhere(generator), _anywhere(generator)]
    return roughened(_posed(noun, BACKGROUNDS[CLIP_BACKGROUND], poses, generator), generator)


def free_colour(noun: str, generator: np.random.Generator) -> Colour:
    """A chance colour, not near the background with which the noun is held out."""
    apart = [BACKGROUNDS[name] for name in BACKGROUNDS if held_out(Thing("image", noun, name))]
    while True:
        red, green, blue = generator.integers(0, 256, 3).tolist()
        if all(np.abs(np.subtract((red, green, blue), colour)).sum() > 90 for colour in apart):
            return red, green, blue


def patchy(generator: np.random.Generator) -> Picture:
    """A ground of several chance colours, sharp or smooth, (64, 64, 3)."""
    side = int(generator.integers(2, 7))
    patches = Image.fromarray(generator.integers(0, 256, (side, side, 3)).astype(np.uint8))
    how = Image.Resampling.NEAREST if generator.random() < 0.4 else Image.Resampling.BICUBIC
    return np.asarray(patches.resize((SIZE, SIZE), how))


def rough_picture(thing: Thing, generator: np.random.Generator) -> Picture:
    """A picture of an image thing, (64, 64, 3), with everything that does not matter left to chance."""
    posed = _posed(thing.subject, BACKGROUNDS[thing.manner], [_rest(generator)], generator)
    return roughened(posed, generator)[0]


def rough_ends(thing: Thing, generator: np.random.Generator) -> Picture:
    """The first and the last frame of a video thing, (2, 64, 64, 3)."""
    poses = ends(thing.manner, generator)
    return roughened(_posed(thing.subject, BACKGROUNDS[CLIP_BACKGROUND], poses, generator), generator)


def _rest(generator: np.random.Generator) -> Pose:
    x, y = generator.uniform(-7, 7, 2)
    return Pose(x, y, generator.uniform(0.7, 1.2), generator.normal(0, 8))


def _anywhere(generator: np.random.Generator) -> Pose:
    x, y = generator.uniform(-20, 20, 2)
    return Pose(x, y, generator.uniform(0.4, 1.1), generator.uniform(-180, 180))


def ends(motion: str, generator: np.random.Generator) -> list[Pose]:
    """Where an emoji that moves so begins and ends."""
    x, y = generator.uniform(-5, 5, 2)
    scale, angle = generator.uniform(0.45, 1.0), generator.normal(0, 5)
    travel = generator.uniform(9, 24)
    slip = generator.normal(0, 1.5, 2)
    across = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
    if motion in across:
        right, down = across[motion]
        return [
            Pose(x - right * travel, y - down * travel, scale, angle),
            Pose(x + right * travel + slip[0], y + down * travel + slip[1], scale, angle),
        ]
    if motion == "growing":
        small = generator.uniform(0.35, 0.65)
        return [Pose(x, y, small, angle), Pose(x + slip[0], y + slip[1], small * generator.uniform(1.6, 2.5), angle)]
    turned = angle + generator.choice((-1, 1)) * generator.uniform(100, 260)
    return [Pose(x, y, scale, angle), Pose(x + slip[0], y + slip[1], scale, turned)]


def roughened(frames: Picture, generator: np.random.Generator) -> Picture:
    """The same frames, all with the same chance blur, scaling, light, noise and compression; same shape."""
    blur = generator.uniform(0, 1.3) if generator.random() < 0.5 else 0.0
    small = int(generator.integers(36, 64)) if generator.random() < 0.3 else 0
    quality = int(generator.integers(35, 95)) if generator.random() < 0.4 else 0
    gain, lift = generator.uniform(0.88, 1.12, 3), generator.uniform(-12, 12)
    noise = generator.uniform(0, 9) if generator.random() < 0.5 else 0.0
    rough = []
    for frame in frames:
        picture = Image.fromarray(frame)
        if blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        if small:
            shape = (SIZE, SIZE)
            picture = picture.resize((small, small), Image.Resampling.BILINEAR).resize(shape, Image.Resampling.BICUBIC)
        values = np.asarray(picture, np.float32) * gain + lift
        if noise:
            values = values + generator.normal(0, noise, values.shape)
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        rough.append(np.asarray(_compressed(picture, quality) if quality else picture))
    return np.stack(rough)


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _posed(noun: str, ground: Colour | Picture, poses: list[Pose], generator: np.random.Generator) -> Picture:
    """The noun in each pose on one colour, a little off, or on a ground of its own; (poses, 64, 64, 3)."""
    style = pick(generator, STYLES)
    if isinstance(ground, tuple):
        red, green, blue = np.clip(np.add(ground, generator.normal(0, 9, 3)), 0, 255).astype(int).tolist()
        return np.stack([draw(noun, (red, green, blue), style, p.scale, (p.x, p.y), p.angle) for p in poses])
    # Drawn on black and on white, a picture shows how much of the ground each of its pixels lets through.
    black = np.stack([draw(noun, (0, 0, 0), style, p.scale, (p.x, p.y), p.angle) for p in poses]).astype(np.float32)
    white = np.stack([draw(noun, (255, 255, 255), style, p.scale, (p.x, p.y), p.angle) for p in poses])
    mixed: Picture = (black + (white - black) / 255 * ground).clip(0, 255).astype(np.uint8)
    return mixed
