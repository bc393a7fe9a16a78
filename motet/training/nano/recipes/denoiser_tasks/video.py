"""The denoising task of clips, with and without a picture that the clip begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import UNet3DConditionModel
from torch import Tensor, nn

from motet.models.diffusion.kinds.image_to_video import add_first_frame, add_positions
from motet.models.diffusion.kinds.text_to_video import add_frame_ramp
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.recipes.autoencoder import load_or_linear, to_pictures, to_tensor
from motet.training.nano.recipes.denoiser_tasks.task import PICTURE_UNET, DenoiserBatch, Sampler, for_cpu
from motet.training.nano.world import clips, pictures
from motet.training.nano.world.outside_nouns import OUTSIDE_NOUNS
from motet.training.nano.world.world import (
    ANY,
    BACKGROUNDS,
    MOTIONS,
    MOVERS,
    Thing,
    held_out,
    things_of_split,
    things_without_manner,
    unbiased_things,
)

# The value of the manifest's option `frame_ramp`.
FRAME_RAMP = 1.0
# The value of the manifest's option `position_frequencies`.
POSITION_FREQUENCIES = 3
_CHANNELS = 48
# Probability of a pair of animations of a picture.
_ANIMATED = 0.5
# Probability that an animation, and that a clip, shows a noun outside the world.
_OUTSIDE_ANIMATED = 0.5
_OUTSIDE = 0.15
# Probability that a motion is a turn, before all motions have equal chances.
_TURNING = 0.4
# Largest noise on the latents of a first frame. The pictures of the picture decoder and of users are noisy, too.
_FIRST_FRAME_NOISE = 0.15


class VideoTask:
    """Clips: sixteen nouns in six motions, on white, and clips of other nouns; and animations of pictures.

    One denoiser serves the signals `video` and `animation`. The latents of the first frame are further input channels,
    0 for a clip without a picture. The latents of an animation are the difference to these (the manifest's option
    `residual`). The caption of an animation does not name the noun, because the picture shows it.

    Each of the sixteen nouns has a held-out motion, so the denoiser would learn that a noun implies its other motions.
    The clips of other nouns have no held-out motions, so they teach motions independently of nouns. So do clips and
    animations of many nouns outside the world, which the denoiser cannot all learn by heart. Some clips show a
    noun that rests or rocks, upside down or on its side. For nouns with held-out turning, only these clips show such
    angles. If they only rested, the denoiser would learn that such a noun rests whenever it is not upright.
    """

    modality: ClassVar[str] = "video"
    shape: ClassVar[tuple[int, ...]] = (_CHANNELS, clips.FRAMES, 8, 8)
    # A pair of clips with opposite motions differs only in the direction. With equal noise for both clips, the denoiser
    # learns the direction.
    group_size: ClassVar[int] = 2

    def __init__(self, build: Path) -> None:
        self._folder = build / "autoencoder"
        self._autoencoder = load_or_linear(self._folder).eval()
        self._things, self._unbiased = things_of_split(self.modality, False), unbiased_things(self.modality)
        self._without_manner = things_without_manner(self.modality)
        self._outside = [Thing("video", *each) for each in product(OUTSIDE_NOUNS, MOTIONS)]
        self._pictures = things_of_split("image", False)
        self._outside_pictures = [Thing("image", *each) for each in product(OUTSIDE_NOUNS, BACKGROUNDS)]

    def denoiser(self) -> nn.Module:
        """Return a 3D U-Net of two levels, in the architecture of text-to-video-sd.

        It has further input channels for a first frame and for positions.
        """
        return for_cpu(
            UNet3DConditionModel(
                sample_size=8,
                block_out_channels=(96, 128),
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
                attention_head_dim=16,
                **PICTURE_UNET | {"in_channels": 2 * _CHANNELS + 4 * POSITION_FREQUENCIES},
            )
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> DenoiserBatch:
        """Return three pairs of clips.

        A pair shows one noun in opposite motions, or two different things if the opposite is held out, or two nouns
        that turn, or one noun that rests or rocks. A pair of animations begins with one picture.
        """
        drawn: list[clips.Clip] = []
        captions: list[str] = []
        animated: list[bool] = []
        for _ in range(3):
            animated += [bool(rng.random() < _ANIMATED)] * 2
            if animated[-1]:
                moving = self._animated_pair(rng)
                drawn += [clip for clip, _ in moving]
                captions += [thing.caption for _, thing in moving]
            else:
                things = self._pair(rng)
                drawn += [_clip(thing, rng) for thing in things]
                captions += [self._caption(thing, rng) for thing in things]
        frames = self._autoencoder.encode(to_tensor(np.concatenate(drawn)))
        latents = frames.unflatten(0, (len(drawn), clips.FRAMES)).transpose(1, 2).contiguous()
        first = latents[:, :, 0] + _FIRST_FRAME_NOISE * torch.rand(len(drawn), 1, 1, 1) * torch.randn_like(
            latents[:, :, 0]
        )
        first = first * torch.tensor(animated).reshape(-1, 1, 1, 1)
        return DenoiserBatch(latents - first[:, :, None], captions, first)

    def _animated_pair(self, rng: np.random.Generator) -> list[tuple[clips.Clip, Thing]]:
        """Return two animations of a picture in opposite motions or, from two places, in one motion."""
        picture = pick(rng, self._outside_pictures if rng.random() < _OUTSIDE_ANIMATED else self._pictures)
        options = [Thing("animation", picture.subject, motion) for motion in MOTIONS]
        thing = _pick_turning_often([option for option in options if not held_out(option)], rng)
        one_motion = held_out(_opposite(thing)) or (thing.manner == "turning" and rng.random() < 0.5)
        other = thing if one_motion else _opposite(thing)
        place = _random_place(rng)
        other_place = _random_place(rng) if one_motion else place
        return [
            (clips.animate(picture.subject, picture.manner, each.manner, *each_place), each)
            for each, each_place in ((thing, place), (other, other_place))
        ]

    def _caption(self, thing: Thing, rng: np.random.Generator) -> str:
        if not thing.manner:
            return thing.caption
        # If the opposite motion is held out, the caption omits the noun, because the noun would imply the motion. Some
        # other captions omit the noun, too, so that the denoiser learns motions independently of nouns.
        opposite_held_out = thing.subject in MOVERS and held_out(_opposite(thing))
        without_noun = opposite_held_out or rng.random() < 0.15
        return replace(thing, subject=ANY).caption if without_noun else thing.caption

    def _pair(self, rng: np.random.Generator) -> tuple[Thing, Thing]:
        chance = rng.random()
        if chance < 0.12:
            without_motion = pick(rng, self._without_manner)
            return without_motion, without_motion
        candidates = self._things
        if chance < 0.5:
            candidates = self._outside if chance < 0.12 + _OUTSIDE else self._unbiased
        thing = _pick_turning_often(candidates, rng)
        # Two turning nouns differ only in the noun. A turning and a growing one also differ in their size.
        if thing.manner == "turning" and rng.random() < 0.5:
            return thing, pick(rng, [other for other in candidates if other.manner == "turning"])
        other = _opposite(thing)
        return thing, pick(rng, candidates) if held_out(other) else other

    def predict(
        self,
        denoiser: nn.Module,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        first_frames: Tensor | None = None,
    ) -> Tensor:
        """Return the output of the U-Net. Without first frames, all clips have no picture."""
        first = torch.zeros_like(noisy[:, :, 0]) if first_frames is None else first_frames
        channels = add_positions(add_first_frame(add_frame_ramp(noisy, FRAME_RAMP), first), POSITION_FREQUENCIES)
        output: Tensor = denoiser(channels, timesteps, conditioning).sample
        return output

    def sample_sheet(self, sampler: Sampler) -> pictures.Picture:
        """Return a sheet of six held-out clips and six animations of held-out pictures, one in a row."""
        captions = [thing.caption for thing in things_of_split(self.modality, True)][:6]
        shown = things_of_split("image", True)[::7]
        firsts = self._autoencoder.encode(
            to_tensor(np.stack([pictures.draw(each.subject, each.manner) for each in shown]))
        )
        captions += [Thing("animation", ANY, motion).caption for motion in MOTIONS]
        first_frames = torch.cat([torch.zeros_like(firsts), firsts])
        latents = sampler(captions, first_frames) + first_frames[:, :, None]
        latents = latents.transpose(1, 2).flatten(0, 1)
        pixels = load_or_linear(self._folder).decode(latents).sample
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in pixels.split(clips.FRAMES)], dim=1))


def _pick_turning_often(candidates: Sequence[Thing], rng: np.random.Generator) -> Thing:
    """Return a random candidate. About half of the results turn, if a candidate does: turns are learned last."""
    turning = [thing for thing in candidates if thing.manner == "turning"]
    return pick(rng, turning if turning and rng.random() < _TURNING else candidates)


def _random_place(rng: np.random.Generator) -> tuple[float, tuple[float, float]]:
    """Return the scale and the offset of a picture's noun."""
    right, down = rng.integers(-3, 4, 2)
    return float(rng.uniform(0.9, 1.1)) if rng.random() < 0.4 else 1.0, (float(right), float(down))


def _opposite(thing: Thing) -> Thing:
    """Return the thing in the opposite motion. `MOTIONS` lists pairs of opposites; growing and turning are a pair."""
    return replace(thing, manner=MOTIONS[MOTIONS.index(thing.manner) ^ 1])


def _clip(thing: Thing, rng: np.random.Generator) -> clips.Clip:
    if thing.manner:
        return clips.draw(thing.subject, thing.manner)
    if rng.random() < 0.5:
        return clips.rocking(thing.subject, angle=rng.uniform(0, 180), phase=rng.random())
    return clips.at_rest(thing.subject, frame=int(rng.integers(clips.FRAMES)))
