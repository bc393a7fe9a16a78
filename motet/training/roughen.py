"""Pictures and pairs of frames to learn seeing from: the nano world, drawn roughly.

What a user attaches was scaled, compressed and photographed by others, and what a decoder made is a little blurred. So
each example is moved, turned, blurred, made noisy and compressed by chance; its labels stay.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from motet.models.towers import ImageBindConfig
from motet.models.views import clip_views, picture_views
from motet.training.pictures import SIZE, STYLES, draw
from motet.training.wordings import pick
from motet.training.world import BACKGROUNDS, CLIP_BACKGROUND, MOVERS, NOUNS, Thing, held_out, things

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Example:
    """What a tower is shown, and what it should say: attribute name to value, "" where nothing is to be said."""

    pixels: Tensor
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an emoji is in a frame: offset in pixels from the centre, scale, and angle in degrees."""

    x: float
    y: float
    scale: float
    angle: float


class VisionExamples:
    """Draws pictures, and first and last frames of clips, of all things that are (or are not) held out.

    For practice, every second picture has a colour of no name, and every second clip shows any noun on any colour:
    who has only met whole combinations tells things by them, and fails at those held out.
    """

    def __init__(self, config: ImageBindConfig, held_out: bool) -> None:
        self._size = config.vision.size
        self._practice = not held_out
        self._pictures, self._clips = chosen("image", held_out), chosen("video", held_out)

    def draw(self, generator: np.random.Generator) -> Example:
        """One example: half are pictures, the others clips; (3, 2, size, size)."""
        free = self._practice and generator.random() < 0.5
        if generator.random() < 0.5:
            thing = self._pictures[generator.integers(len(self._pictures))]
            colour = free_colour(thing.subject, generator) if free else None
            pixels = picture_views(rough_picture(thing, generator, colour), self._size).pixels[0]
            labels = {"noun": thing.subject, "background": "" if colour else thing.manner, "motion": "still"}
            return Example(pixels.unsqueeze(1).expand(-1, 2, -1, -1), labels)
        thing, colour = self._clips[generator.integers(len(self._clips))], None
        if free:
            thing = Thing("video", pick(generator, [*NOUNS]), thing.manner)
            colour = free_colour(thing.subject, generator)
            if thing.subject in MOVERS and held_out(thing):
                return self.draw(generator)
        pixels = clip_views(rough_ends(thing, generator, colour), 1.0, self._size).pixels[0]
        labels = {"noun": thing.subject, "background": "" if colour else CLIP_BACKGROUND, "motion": thing.manner}
        return Example(pixels, labels)


def free_colour(noun: str, generator: np.random.Generator) -> tuple[int, int, int]:
    """A chance colour that is none of the backgrounds with which the noun is held out."""
    apart = [BACKGROUNDS[name] for name in BACKGROUNDS if held_out(Thing("image", noun, name))]
    while True:
        red, green, blue = generator.integers(0, 256, 3).tolist()
        if all(np.abs(np.subtract((red, green, blue), colour)).sum() > 120 for colour in apart):
            return red, green, blue


def chosen(modality: str, apart: bool) -> list[Thing]:
    """The things of a modality that are held out, or those that are not."""
    return [thing for thing in things(modality) if held_out(thing) == apart]


def rough_picture(thing: Thing, generator: np.random.Generator, colour: Colour | None = None) -> Picture:
    """A picture of an image thing, (64, 64, 3), with everything that does not matter left to chance.

    `colour` replaces its background.
    """
    x, y = generator.uniform(-7, 7, 2)
    pose = Pose(x, y, generator.uniform(0.7, 1.2), generator.normal(0, 8))
    return roughened(_posed(thing.subject, colour or BACKGROUNDS[thing.manner], [pose], generator), generator)[0]


def rough_ends(thing: Thing, generator: np.random.Generator, colour: Colour | None = None) -> Picture:
    """The first and the last frame of a video thing, (2, 64, 64, 3)."""
    poses = ends(thing.manner, generator)
    return roughened(_posed(thing.subject, colour or BACKGROUNDS[CLIP_BACKGROUND], poses, generator), generator)


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


def _posed(noun: str, colour: Colour, poses: list[Pose], generator: np.random.Generator) -> Picture:
    style = pick(generator, STYLES)
    red, green, blue = np.clip(np.add(colour, generator.normal(0, 9, 3)), 0, 255).astype(int).tolist()
    drawn: Picture = np.stack([draw(noun, (red, green, blue), style, p.scale, (p.x, p.y), p.angle) for p in poses])
    return drawn
