"""What the nano encoder makes of the nano world: many embeddings of each thing, computed once.

The encoder is frozen while the language model learns to read it, so each picture is looked at only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from motet.models.encoder.network import ImageBind
from motet.models.encoder.preprocessing import clip_views, mel_picture
from motet.training.nano.data.augment_pictures import (
    nameless_ends,
    nameless_picture,
    rough_ends,
    rough_picture,
    roughened,
    still,
)
from motet.training.nano.data.augment_sounds import NamelessNotes, Notes
from motet.training.nano.world import clips, pictures
from motet.training.nano.world.world import ANY, MODALITIES, Thing, chosen, impartial, nameless

_VARIANTS = {"image": 24, "audio": 100, "video": 30}
# There are as many nameless things as subjects, and they are shown as often as the others.
_NAMELESS_VARIANTS = {"image": 160, "audio": 400, "video": 160}
_TOWERS = {"image": "vision", "audio": "audio", "video": "vision"}


class EmbeddingBank:
    """Embeddings by thing, each (variants, width)."""

    def __init__(self, embeddings: dict[str, Tensor]) -> None:
        self._embeddings = embeddings
        self._known_ways: dict[tuple[str, str], Tensor] = {}
        self._impartial: dict[tuple[str, str], list[Thing]] = {}
        for thing in (each for modality in MODALITIES for each in impartial(modality)):
            self._impartial.setdefault((thing.modality, thing.manner), []).append(thing)

    @classmethod
    def filled(cls, encoder: ImageBind, path: Path, apart: bool = False) -> EmbeddingBank:
        """The bank at a path, of the things that are (or are not) held out; it is computed if it is not there."""
        if not path.exists():
            generator = np.random.default_rng(int(apart))
            every = [thing for modality in MODALITIES for thing in chosen(modality, apart)]
            # Of these none is held out.
            others = [thing for modality in MODALITIES for thing in (*nameless(modality), *impartial(modality))]
            every += [thing for thing in others if not apart and thing not in every]
            viewer = _Viewer(encoder)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({_key(thing): viewer.embeddings(thing, generator) for thing in every}, path)
        return cls(load_file(path))

    @classmethod
    def filled_already(cls, path: Path) -> EmbeddingBank:
        """The bank at a path, which an earlier stage has computed. Raises FileNotFoundError."""
        return cls(load_file(path))

    def draw(self, wanted: Sequence[Thing]) -> Tensor:
        """One embedding of each thing, by torch's chance, (things, width).

        Where an attribute is `ANY`, the embedding of a thing that tells only the other one is moved by chance in the
        directions in which the attribute moves it: so who reads the other one learns to look past these.
        """
        return torch.stack([self._one(thing) for thing in wanted])

    def _one(self, thing: Thing) -> Tensor:
        if thing.manner == ANY:
            return self._moved(self._one(replace(thing, manner="")), self._ways(thing.modality, "manner"))
        if thing.subject == ANY:
            others = self._impartial[thing.modality, thing.manner]
            other = others[int(torch.randint(len(others), ()))]
            return self._moved(self._one(other), self._ways(thing.modality, "subject"))
        variants = self._embeddings[_key(thing)]
        return variants[int(torch.randint(len(variants), ()))]

    def _moved(self, embedding: Tensor, ways: Tensor) -> Tensor:
        # As far as the attribute's own values lie apart.
        chance = torch.randn(len(ways)) / len(ways) ** 0.5
        return functional.normalize(embedding + chance @ ways, dim=-1)

    def _ways(self, modality: str, attribute: str) -> Tensor:
        """How each value of an attribute moves embeddings, from their mean, (values, width)."""
        if (modality, attribute) not in self._known_ways:
            told: dict[str, list[Tensor]] = {}
            for thing in nameless(modality) if attribute == "subject" else impartial(modality):
                told.setdefault(getattr(thing, attribute), []).append(self._embeddings[_key(thing)].mean(dim=0))
            means = torch.stack([torch.stack(each).mean(dim=0) for each in told.values()])
            self._known_ways[modality, attribute] = means - means.mean(dim=0)
        return self._known_ways[modality, attribute]


class _Viewer:
    def __init__(self, encoder: ImageBind) -> None:
        self._encoder = encoder
        self._notes = Notes()
        self._nameless_notes = NamelessNotes()

    @torch.no_grad()
    def embeddings(self, thing: Thing, generator: np.random.Generator) -> Tensor:
        """The variants of one thing: the first third as it is drawn, the others rough."""
        if thing.manner:
            count = _VARIANTS[thing.modality]
            pixels = [self._pixels(thing, i < count // 3, generator) for i in range(count)]
        else:
            pixels = [self._nameless(thing, generator) for _ in range(_NAMELESS_VARIANTS[thing.modality])]
        embedded: Tensor = self._encoder(_TOWERS[thing.modality], torch.stack(pixels))
        return embedded

    def _nameless(self, thing: Thing, generator: np.random.Generator) -> Tensor:
        vision = self._encoder.config.vision.size
        match thing.modality:
            case "image":
                return still(nameless_picture(thing.subject, generator)[0], vision)
            case "audio":
                wave, _ = self._nameless_notes.draw(thing.subject, generator)
                return mel_picture(torch.from_numpy(wave), self._encoder.config.audio)
            case _:
                return clip_views(nameless_ends(thing.subject, generator), 1.0, vision).pixels[0]

    def _pixels(self, thing: Thing, tidy: bool, generator: np.random.Generator) -> Tensor:
        config = self._encoder.config
        style = pictures.STYLES[int(generator.integers(len(pictures.STYLES)))]
        if thing.modality == "image":
            offset = (generator.uniform(-3, 3), generator.uniform(-3, 3))
            tidily = pictures.draw(thing.subject, thing.manner, style, generator.uniform(0.9, 1.1), offset)
            picture = tidily if tidy else rough_picture(thing, generator)
            return still(picture, config.vision.size)
        if thing.modality == "video":
            frames = clips.draw(thing.subject, thing.manner, style, generator.uniform(0.9, 1.1))[[0, -1]]
            if not tidy:
                frames = roughened(frames, generator) if generator.random() < 0.5 else rough_ends(thing, generator)
            return clip_views(frames, 1.0, config.vision.size).pixels[0]
        wave, _ = self._notes.draw(thing, generator)
        return mel_picture(torch.from_numpy(wave), config.audio)


def _key(thing: Thing) -> str:
    return f"{thing.modality}/{thing.subject}/{thing.manner}"
