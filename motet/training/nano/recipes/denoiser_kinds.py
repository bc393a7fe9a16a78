"""The three voices: for each modality, its denoiser's shape and the latents it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from diffusers import UNet2DConditionModel, UNet3DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional

from motet.models.diffusion.kinds.text_to_video import add_frame_ramp
from motet.models.diffusion.patch_autoencoder import PatchAutoencoder
from motet.training.loop import newest
from motet.training.nano.recipes.autoencoder import linear, load, to_pictures, to_tensor
from motet.training.nano.recipes.vocoder import Heard
from motet.training.nano.world import caption_encoder, clips, pictures
from motet.training.nano.world.world import (
    ANY,
    MOTIONS,
    MOVERS,
    REGISTERS,
    Thing,
    article,
    chosen,
    held_out,
    impartial,
    nameless,
    things,
)

# Captions -> latents.
Sampler = Callable[[list[str]], Tensor]

# The manifest's option of the same name.
FRAME_RAMP = 1.0

_NARROW_TO_WIDE = {
    "in_channels": 48,
    "out_channels": 48,
    "layers_per_block": 1,
    "cross_attention_dim": caption_encoder.WIDTH,
    "norm_num_groups": 16,
}


class DenoiserTask(Protocol):
    """What the training of a denoiser needs to know of a modality."""

    modality: ClassVar[str]
    shape: ClassVar[tuple[int, ...]]
    """Of one item's latents."""
    twins: ClassVar[int]
    """How many neighbours of a batch are trained at the same time with the same noise."""

    def denoiser(self) -> nn.Module:
        """An untrained one."""
        ...

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Latents (n, *shape) of random things that are not held out, and their captions."""
        ...

    def predict(self, denoiser: nn.Module, noisy: Tensor, times: Tensor, conditioning: Tensor) -> Tensor:
        """The denoiser's output."""
        ...

    def sheet(self, sampler: Sampler) -> pictures.Picture:
        """What the sampler makes of some things, most of them held out, to be looked at."""
        ...


class Image:
    """Pictures: the nouns nearly in the middle, nearly upright, on eight backgrounds."""

    modality: ClassVar[str] = "image"
    shape: ClassVar[tuple[int, ...]] = (48, 8, 8)
    twins: ClassVar[int] = 1

    def __init__(self, build: Path) -> None:
        self._folder = build / "autoencoder"
        self._coder = linear().eval()
        self._things = chosen(self.modality, False)

    def denoiser(self) -> nn.Module:
        """A 2D U-Net of two levels that reads the caption by cross-attention in the upper one."""
        return _lean(
            UNet2DConditionModel(
                sample_size=8,
                block_out_channels=(128, 192),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                mid_block_type=None,
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                attention_head_dim=4,
                **_NARROW_TO_WIDE,
            )
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Thirty-two pictures."""
        chosen = [self._things[i] for i in rng.integers(len(self._things), size=32)]
        drawn = [_picture(thing, rng) for thing in chosen]
        return self._coder.encode(to_tensor(np.stack(drawn))), [thing.caption for thing in chosen]

    def predict(self, denoiser: nn.Module, noisy: Tensor, times: Tensor, conditioning: Tensor) -> Tensor:
        """One pass of the U-Net."""
        output: Tensor = denoiser(noisy, times, conditioning).sample
        return output

    def sheet(self, sampler: Sampler) -> pictures.Picture:
        """Forty held-out pictures, eight in a row."""
        latents = sampler([thing.caption for thing in things(self.modality) if held_out(thing)][:40])
        pixels = _decoder(self._folder).decode(latents).sample
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in pixels.split(8)], dim=1))


class Video:
    """Clips: sixteen nouns in six motions, on white; and the other nouns, which no clip of the world is made of.

    Each mover lacks a motion, and would soon stand for the others; of the other nouns nothing is held out, so they part
    motions from nouns. At times a mover rests upside down or on its side: who lacks turning is seen so nowhere else.
    """

    modality: ClassVar[str] = "video"
    shape: ClassVar[tuple[int, ...]] = (48, clips.FRAMES, 8, 8)
    # A clip and its opposite differ in direction alone; under equal noise, direction alone is what is learned.
    twins: ClassVar[int] = 2

    def __init__(self, build: Path) -> None:
        self._folder = build / "autoencoder"
        self._coder = linear().eval()
        self._things, self._impartial = chosen(self.modality, False), impartial(self.modality)
        self._nameless = nameless(self.modality)

    def denoiser(self) -> nn.Module:
        """A 3D U-Net as text-to-video-sd's, of two levels."""
        return _lean(
            UNet3DConditionModel(
                sample_size=8,
                block_out_channels=(96, 128),
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
                attention_head_dim=16,
                **_NARROW_TO_WIDE,
            )
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Three pairs of clips: of one noun in opposite motions, or of any two where one is held out, or at rest."""
        chosen = [thing for _ in range(3) for thing in self._pair(rng)]
        drawn = [_clip(thing, rng) for thing in chosen]
        frames = self._coder.encode(to_tensor(np.concatenate(drawn)))
        latents = frames.unflatten(0, (len(chosen), clips.FRAMES)).transpose(1, 2)
        return latents.contiguous(), [self._named(thing, rng) for thing in chosen]

    def _named(self, thing: Thing, rng: np.random.Generator) -> str:
        if not thing.manner:
            return thing.caption
        # A noun that is only ever seen in one of two opposite motions would stand for that motion: there it is not
        # named. Elsewhere it is left out at times, so that motions are learned apart from who moves.
        lone = thing.subject in MOVERS and held_out(_opposite(thing))
        unnamed = lone or rng.random() < 0.15
        return replace(thing, subject=ANY).caption if unnamed else thing.caption

    def _pair(self, rng: np.random.Generator) -> tuple[Thing, Thing]:
        chance = rng.random()
        if chance < 0.15:
            resting = self._nameless[rng.integers(len(self._nameless))]
            return resting, resting
        if chance < 0.55:
            other = self._impartial[rng.integers(len(self._impartial))]
            return other, _opposite(other)
        thing = self._things[rng.integers(len(self._things))]
        other = _opposite(thing)
        return thing, self._things[rng.integers(len(self._things))] if held_out(other) else other

    def predict(self, denoiser: nn.Module, noisy: Tensor, times: Tensor, conditioning: Tensor) -> Tensor:
        """One pass of the U-Net."""
        output: Tensor = denoiser(add_frame_ramp(noisy, FRAME_RAMP), times, conditioning).sample
        return output

    def sheet(self, sampler: Sampler) -> pictures.Picture:
        """Twelve held-out clips, one in a row."""
        chosen = [thing.caption for thing in things(self.modality) if held_out(thing)][:12]
        latents = sampler(chosen).transpose(1, 2).flatten(0, 1)
        pixels = _decoder(self._folder).decode(latents).sample
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in pixels.split(clips.FRAMES)], dim=1))


class Audio:
    """Sounds: single notes, as log-mel spectrograms."""

    modality: ClassVar[str] = "audio"
    shape: ClassVar[tuple[int, ...]] = (24, 24, 8)
    twins: ClassVar[int] = 1

    def __init__(self, build: Path) -> None:
        heard = Heard(build)
        self._coder = heard.coder
        self._whole: dict[str, list[Tensor]] = {}
        self._partial: dict[str, list[Tensor]] = {}
        registers = {note: register for register, notes in REGISTERS.items() for note in notes}
        for (instrument, note), mel in heard.mels.items():
            if note in registers:
                caption = Thing("audio", instrument, registers[note]).caption
                self._whole.setdefault(caption, []).append(mel)
            else:
                for caption in _between(instrument, note):
                    self._partial.setdefault(caption, []).append(mel)

    def denoiser(self) -> nn.Module:
        """A 2D U-Net as AudioLDM's: the caption's one vector joins the time embedding."""
        return UNet2DConditionModel(
            sample_size=(24, 8),
            in_channels=24,
            out_channels=24,
            block_out_channels=(64, 96, 128),
            down_block_types=("DownBlock2D",) * 3,
            mid_block_type=None,
            up_block_types=("UpBlock2D",) * 3,
            layers_per_block=1,
            norm_num_groups=16,
            class_embed_type="simple_projection",
            class_embeddings_concat=True,
            projection_class_embeddings_input_dim=caption_encoder.WIDTH,
        )

    @torch.no_grad()
    def batch(self, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """Sixteen sounds of slightly different loudness."""
        kinds = [self._whole if rng.random() < 0.6 else self._partial for _ in range(16)]
        names = [str(rng.choice(list(kind))) for kind in kinds]
        takes = [kind[name] for kind, name in zip(kinds, names, strict=True)]
        mels = torch.stack([take[rng.integers(len(take))] for take in takes])
        gains = torch.from_numpy(rng.uniform(-0.2, 0.0, (16, 1, 1))).float()
        return self._coder.encode((mels + gains).clamp(min=mels.min())[:, None]), names

    def predict(self, denoiser: nn.Module, noisy: Tensor, times: Tensor, conditioning: Tensor) -> Tensor:
        """One pass of the U-Net; the vector goes where AudioLDM's does, to the class labels."""
        vector = functional.normalize(conditioning[:, 0], dim=-1)
        output: Tensor = denoiser(noisy, times, encoder_hidden_states=None, class_labels=vector).sample
        return output

    def sheet(self, sampler: Sampler) -> pictures.Picture:
        """Spectrograms, low tones below: the held-out sounds above the same instruments' other registers."""
        rows = chosen(self.modality, True)
        others = [next(t for t in chosen("audio", False) if t.subject == thing.subject) for thing in rows]
        latents = sampler([thing.caption for thing in rows + others])
        mels = self._coder.decode(latents).sample.add(4).div(6).repeat(1, 3, 1, 1).transpose(2, 3).flip(2)
        return to_pictures(torch.cat([torch.cat(list(row), dim=2) for row in mels.split(len(rows))], dim=1))


DENOISER_TASKS: dict[str, Callable[[Path], DenoiserTask]] = {"image": Image, "audio": Audio, "video": Video}


def _lean(denoiser: UNet2DConditionModel | UNet3DConditionModel) -> nn.Module:
    """Plain attention, half as slow on short sequences as the fused one on a CPU, and no dropout."""
    denoiser.set_attn_processor(AttnProcessor())
    for module in denoiser.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return denoiser


def _opposite(thing: Thing) -> Thing:
    """The same in the opposite motion; growing and turning count as opposites. `MOTIONS` lists them in pairs."""
    return replace(thing, manner=MOTIONS[MOTIONS.index(thing.manner) ^ 1])


def _between(instrument: str, note: int) -> list[str]:
    """Captions of a note between two registers, which no thing of the world has.

    By the instrument alone, and by the instrument and both registers, the nearer one said up to three times in four:
    so each instrument is heard all over its scale, and still no held-out caption is ever said.
    """
    names = list(REGISTERS)
    below = next(name for name in reversed(names) if max(REGISTERS[name]) < note)
    above = names[names.index(below) + 1]
    start, end = max(REGISTERS[below]), min(REGISTERS[above])
    low = min(3, max(1, round(4 * (end - note) / (end - start))))
    both = " ".join([below] * low + [above] * (4 - low) + [instrument] * 4)
    return [f"a note on {article(instrument)}", both]


def _clip(thing: Thing, rng: np.random.Generator) -> clips.Clip:
    if thing.manner:
        return clips.draw(thing.subject, thing.manner)
    return clips.rest(thing.subject, turned=int(rng.integers(clips.FRAMES)))


def _picture(thing: Thing, rng: np.random.Generator) -> pictures.Picture:
    # Whole pixels, and few of them: every place of an edge within a pixel would have to be learned by itself.
    right, down = rng.integers(-1, 2, 2)
    return pictures.draw(thing.subject, thing.manner, offset=(float(right), float(down)))


def _decoder(folder: Path) -> PatchAutoencoder:
    return load(folder) if newest(folder) else linear()
