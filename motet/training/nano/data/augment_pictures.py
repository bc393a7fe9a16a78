"""Augmented pictures and pairs of frames for the training of the vision tower.

Pictures of users are scaled, compressed and photographed, and pictures of a decoder are slightly blurred. So each
example is moved, rotated, blurred and compressed at random, with random noise. Its labels do not change.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from motet.models.encoder.network import ImageBindConfig
from motet.models.encoder.preprocessing import clip_views, picture_views
from motet.training.nano.data.encoder_example import EncoderExample
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.world.pictures import SIZE, STYLES, draw
from motet.training.nano.world.world import (
    BACKGROUNDS,
    CLIP_BACKGROUND,
    MOTIONS,
    MOVERS,
    NOUNS,
    Thing,
    held_out,
    things_of_split,
)

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Pose:
    """The pose of an emoji in a frame: offset from the centre in pixels, scale, and angle in degrees."""

    x: float
    y: float
    scale: float
    angle: float


class VisionExamples:
    """A source of pictures, and of first and last frames of clips, from the training split or from the test split.

    A tower that is trained only on whole combinations learns the list of them ("a trumpet is never on yellow") and
    fails on the held-out ones. So in the training split most nouns have a background and a motion without a name, most
    motions have a noun outside `MOVERS`, and few whole things have labels for both attributes.
    """

    def __init__(self, config: ImageBindConfig, test_split: bool) -> None:
        self._size = config.vision.size
        self._training = not test_split
        self._pictures, self._clips = things_of_split("image", test_split), things_of_split("video", test_split)

    def draw(self, rng: np.random.Generator) -> EncoderExample:
        """Return a picture or a clip, equally likely; pixels are (3, 2, size, size)."""
        is_picture = rng.random() < 0.5
        if self._training and rng.random() < 0.6:
            return self._picture_without_manner(rng) if is_picture else self._clip_without_thing(rng)
        thing = pick(rng, self._pictures if is_picture else self._clips)
        unlabelled = self._training and rng.random() < 0.95
        noun = "" if unlabelled else thing.subject
        if is_picture:
            frames = augmented_picture(thing, rng)[None]
            return self._example(frames, noun, thing.manner, "still")
        motion = "" if unlabelled else thing.manner
        return self._example(augmented_clip_ends(thing, rng), noun, CLIP_BACKGROUND, motion)

    def _picture_without_manner(self, rng: np.random.Generator) -> EncoderExample:
        noun = pick(rng, tuple(NOUNS))
        return self._example(picture_without_manner(noun, rng), noun, "", "still")

    def _clip_without_thing(self, rng: np.random.Generator) -> EncoderExample:
        """Return any noun in a random motion, or in a named motion that is not held out for it.

        Only nouns outside `MOVERS` have a motion label, because none of their combinations is held out.
        """
        noun, motion = pick(rng, tuple(NOUNS)), pick(rng, MOTIONS)
        named = rng.random() < 0.6 and not (noun in MOVERS and held_out(Thing("video", noun, motion)))
        poses = end_poses(motion, rng) if named else [_random_pose(rng), _random_pose(rng)]
        background = random_patches(rng) if rng.random() < 0.4 else BACKGROUNDS[CLIP_BACKGROUND]
        frames = augment(_render(noun, background, poses, rng), rng)
        label = motion if named and noun not in MOVERS else ""
        return self._example(frames, noun, CLIP_BACKGROUND if isinstance(background, tuple) else "", label)

    def _example(self, frames: Picture, noun: str, background: str, motion: str) -> EncoderExample:
        is_picture = len(frames) == 1
        pixels = still_views(frames[0], self._size) if is_picture else clip_views(frames, 1.0, self._size).pixels[0]
        return EncoderExample(pixels, {"noun": noun, "background": background, "motion": motion})


def still_views(picture: Picture, size: int) -> Tensor:
    """Return a picture as the vision tower's input: a clip of two equal frames, (3, 2, size, size)."""
    return picture_views(picture, size).pixels[0].unsqueeze(1).expand(-1, 2, -1, -1)


def picture_without_manner(noun: str, rng: np.random.Generator) -> Picture:
    """Return the noun on random patches or on a colour without a name, (1, 64, 64, 3)."""
    background = random_patches(rng) if rng.random() < 0.4 else random_colour(noun, rng)
    return augment(_render(noun, background, [_centred_pose(rng)], rng), rng)


def clip_ends_without_manner(noun: str, rng: np.random.Generator) -> Picture:
    """Return the noun in two random poses on the background of clips, (2, 64, 64, 3)."""
    poses = [_random_pose(rng), _random_pose(rng)]
    return augment(_render(noun, BACKGROUNDS[CLIP_BACKGROUND], poses, rng), rng)


def random_colour(noun: str, rng: np.random.Generator) -> Colour:
    """Return a random colour that differs from the noun's held-out background."""
    excluded = [BACKGROUNDS[name] for name in BACKGROUNDS if held_out(Thing("image", noun, name))]
    while True:
        red, green, blue = rng.integers(0, 256, 3).tolist()
        if all(np.abs(np.subtract((red, green, blue), colour)).sum() > 90 for colour in excluded):
            return red, green, blue


def random_patches(rng: np.random.Generator) -> Picture:
    """Return a background of several random colours, with sharp or smooth edges, (64, 64, 3)."""
    side = int(rng.integers(2, 7))
    patches = Image.fromarray(rng.integers(0, 256, (side, side, 3)).astype(np.uint8))
    resampling = Image.Resampling.NEAREST if rng.random() < 0.4 else Image.Resampling.BICUBIC
    return np.asarray(patches.resize((SIZE, SIZE), resampling))


def augmented_picture(thing: Thing, rng: np.random.Generator) -> Picture:
    """Return an augmented picture of an image thing, (64, 64, 3)."""
    rendered = _render(thing.subject, BACKGROUNDS[thing.manner], [_centred_pose(rng)], rng)
    return augment(rendered, rng)[0]


def augmented_clip_ends(thing: Thing, rng: np.random.Generator) -> Picture:
    """Return the augmented first and last frame of a video thing, (2, 64, 64, 3)."""
    poses = end_poses(thing.manner, rng)
    return augment(_render(thing.subject, BACKGROUNDS[CLIP_BACKGROUND], poses, rng), rng)


def _centred_pose(rng: np.random.Generator) -> Pose:
    x, y = rng.uniform(-7, 7, 2)
    return Pose(x, y, rng.uniform(0.7, 1.2), rng.normal(0, 8))


def _random_pose(rng: np.random.Generator) -> Pose:
    x, y = rng.uniform(-20, 20, 2)
    return Pose(x, y, rng.uniform(0.4, 1.1), rng.uniform(-180, 180))


def end_poses(motion: str, rng: np.random.Generator) -> list[Pose]:
    """Return the first and the last pose of an emoji in this motion."""
    x, y = rng.uniform(-5, 5, 2)
    scale, angle = rng.uniform(0.45, 1.0), rng.normal(0, 5)
    travel = rng.uniform(9, 24)
    slip = rng.normal(0, 1.5, 2)
    directions = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
    if motion in directions:
        right, down = directions[motion]
        return [
            Pose(x - right * travel, y - down * travel, scale, angle),
            Pose(x + right * travel + slip[0], y + down * travel + slip[1], scale, angle),
        ]
    if motion == "growing":
        small = rng.uniform(0.35, 0.65)
        return [Pose(x, y, small, angle), Pose(x + slip[0], y + slip[1], small * rng.uniform(1.6, 2.5), angle)]
    turned = angle + rng.choice((-1, 1)) * rng.uniform(100, 260)
    return [Pose(x, y, scale, angle), Pose(x + slip[0], y + slip[1], scale, turned)]


def augment(frames: Picture, rng: np.random.Generator) -> Picture:
    """Return the frames with random blur, resampling, brightness, noise and JPEG compression, in the same shape.

    All frames get the same strength of each effect.
    """
    blur = rng.uniform(0, 1.3) if rng.random() < 0.5 else 0.0
    small = int(rng.integers(36, 64)) if rng.random() < 0.3 else 0
    quality = int(rng.integers(35, 95)) if rng.random() < 0.4 else 0
    gain, lift = rng.uniform(0.88, 1.12, 3), rng.uniform(-12, 12)
    noise = rng.uniform(0, 9) if rng.random() < 0.5 else 0.0
    augmented = []
    for frame in frames:
        picture = Image.fromarray(frame)
        if blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        if small:
            shape = (SIZE, SIZE)
            picture = picture.resize((small, small), Image.Resampling.BILINEAR).resize(shape, Image.Resampling.BICUBIC)
        values = np.asarray(picture, np.float32) * gain + lift
        if noise:
            values = values + rng.normal(0, noise, values.shape)
        picture = Image.fromarray(values.clip(0, 255).astype(np.uint8))
        augmented.append(np.asarray(_compressed(picture, quality) if quality else picture))
    return np.stack(augmented)


def _compressed(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _render(noun: str, background: Colour | Picture, poses: list[Pose], rng: np.random.Generator) -> Picture:
    """Return the noun in each pose, (poses, 64, 64, 3). A background colour gets small random changes."""
    style = pick(rng, STYLES)
    if isinstance(background, tuple):
        red, green, blue = np.clip(np.add(background, rng.normal(0, 9, 3)), 0, 255).astype(int).tolist()
        return np.stack([draw(noun, (red, green, blue), style, p.scale, (p.x, p.y), p.angle) for p in poses])
    # The difference between a picture on black and on white is the transparency of each pixel.
    black = np.stack([draw(noun, (0, 0, 0), style, p.scale, (p.x, p.y), p.angle) for p in poses]).astype(np.float32)
    white = np.stack([draw(noun, (255, 255, 255), style, p.scale, (p.x, p.y), p.angle) for p in poses])
    blended: Picture = (black + (white - black) / 255 * background).clip(0, 255).astype(np.uint8)
    return blended
