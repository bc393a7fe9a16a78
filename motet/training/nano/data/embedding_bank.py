"""Embeddings of the nano world's things: many per thing, computed once by the nano encoder.

The encoder is frozen during the training of the language model, so every embedding is computed only once.
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
    augment,
    augmented_clip_ends,
    augmented_picture,
    clip_ends_without_manner,
    picture_without_manner,
    still_views,
)
from motet.training.nano.data.augment_sounds import OffRegisterNotes, RegisterNotes
from motet.training.nano.world import clips, pictures
from motet.training.nano.world.world import (
    ANY,
    MODALITIES,
    Thing,
    things_of_split,
    things_without_manner,
    unbiased_things,
)

# Embeddings per thing.
_VARIANTS = {"image": 24, "audio": 100, "video": 30}
# Embeddings per thing without a manner. There is one such thing per subject, and the dialogues use them equally often.
_VARIANTS_WITHOUT_MANNER = {"image": 160, "audio": 400, "video": 160}
_TOWERS = {"image": "vision", "audio": "audio", "video": "vision"}


class EmbeddingBank:
    """Embeddings by thing, each (variants, width)."""

    def __init__(self, embeddings: dict[str, Tensor]) -> None:
        self._embeddings = embeddings
        self._cached_directions: dict[tuple[str, str], Tensor] = {}
        self._unbiased: dict[tuple[str, str], list[Thing]] = {}
        for thing in (each for modality in MODALITIES for each in unbiased_things(modality)):
            self._unbiased.setdefault((thing.modality, thing.manner), []).append(thing)

    @classmethod
    def load_or_compute(cls, encoder: ImageBind, path: Path, test_split: bool = False) -> EmbeddingBank:
        """Load the bank of the training split or of the test split. Compute it first if the file does not exist."""
        if not path.exists():
            rng = np.random.default_rng(int(test_split))
            every = [thing for modality in MODALITIES for thing in things_of_split(modality, test_split)]
            # None of the following things is held out.
            others = [
                thing
                for modality in MODALITIES
                for thing in (*things_without_manner(modality), *unbiased_things(modality))
            ]
            every += [thing for thing in others if not test_split and thing not in every]
            embedder = _Embedder(encoder)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({_key(thing): embedder.embeddings(thing, rng) for thing in every}, path)
        return cls(load_file(path))

    @classmethod
    def load(cls, path: Path) -> EmbeddingBank:
        """Load the bank that an earlier stage computed. Raise FileNotFoundError if the file does not exist."""
        return cls(load_file(path))

    def draw(self, things: Sequence[Thing]) -> Tensor:
        """Return one random embedding of each thing, (things, width). The choice uses torch's default generator.

        It is a variant of the thing, or lies between two of them.

        If an attribute is `ANY`, the embedding shows only the other attribute. It is moved at random in the directions
        of the `ANY` attribute, so that the reader of the other attribute learns to ignore these directions.
        """
        return torch.stack([self._draw_one(thing) for thing in things])

    def _draw_one(self, thing: Thing) -> Tensor:
        if thing.manner == ANY:
            shown = self._draw_one(replace(thing, manner=""))
            return self._moved(shown, self._directions(thing.modality, "manner"))
        if thing.subject == ANY:
            others = self._unbiased[thing.modality, thing.manner]
            other = others[int(torch.randint(len(others), ()))]
            return self._moved(self._draw_one(other), self._directions(thing.modality, "subject"))
        variants = self._embeddings[_key(thing)]
        first, second = variants[torch.randint(len(variants), (2,))]
        # Half of the embeddings are between two variants, so that a thing is a region instead of a few points.
        if torch.rand(()) < 0.5:
            return first
        return functional.normalize(torch.lerp(first, second, torch.rand(())), dim=-1)

    def _moved(self, embedding: Tensor, directions: Tensor) -> Tensor:
        # The typical distance is the distance of the attribute's values from their mean.
        weights = torch.randn(len(directions)) / len(directions) ** 0.5
        return functional.normalize(embedding + weights @ directions, dim=-1)

    def _directions(self, modality: str, attribute: str) -> Tensor:
        """Return the mean embedding of each value of an attribute, minus the mean of all values, (values, width)."""
        if (modality, attribute) not in self._cached_directions:
            by_value: dict[str, list[Tensor]] = {}
            for thing in things_without_manner(modality) if attribute == "subject" else unbiased_things(modality):
                mean = self._embeddings[_key(thing)].mean(dim=0)
                by_value.setdefault(getattr(thing, attribute), []).append(mean)
            means = torch.stack([torch.stack(each).mean(dim=0) for each in by_value.values()])
            self._cached_directions[modality, attribute] = means - means.mean(dim=0)
        return self._cached_directions[modality, attribute]


class _Embedder:
    def __init__(self, encoder: ImageBind) -> None:
        self._encoder = encoder
        self._register_notes = RegisterNotes()
        self._other_notes = OffRegisterNotes()

    @torch.no_grad()
    def embeddings(self, thing: Thing, rng: np.random.Generator) -> Tensor:
        """Return the embeddings of one thing, (variants, width). All but the first third are of augmented media."""
        if thing.manner:
            count = _VARIANTS[thing.modality]
            pixels = [self._pixels(thing, i >= count // 3, rng) for i in range(count)]
        else:
            pixels = [self._pixels_without_manner(thing, rng) for _ in range(_VARIANTS_WITHOUT_MANNER[thing.modality])]
        embedded: Tensor = self._encoder(_TOWERS[thing.modality], torch.stack(pixels))
        return embedded

    def _pixels_without_manner(self, thing: Thing, rng: np.random.Generator) -> Tensor:
        size = self._encoder.config.vision.size
        match thing.modality:
            case "image":
                return still_views(picture_without_manner(thing.subject, rng)[0], size)
            case "audio":
                wave, _ = self._other_notes.draw(thing.subject, rng)
                return mel_picture(torch.from_numpy(wave), self._encoder.config.audio)
            case _:
                return clip_views(clip_ends_without_manner(thing.subject, rng), 1.0, size).pixels[0]

    def _pixels(self, thing: Thing, augmented: bool, rng: np.random.Generator) -> Tensor:
        config = self._encoder.config
        style = pictures.STYLES[int(rng.integers(len(pictures.STYLES)))]
        if thing.modality == "image":
            offset = (rng.uniform(-3, 3), rng.uniform(-3, 3))
            plain = pictures.draw(thing.subject, thing.manner, style, rng.uniform(0.9, 1.1), offset)
            picture = augmented_picture(thing, rng) if augmented else plain
            return still_views(picture, config.vision.size)
        if thing.modality == "video":
            frames = clips.draw(thing.subject, thing.manner, style, rng.uniform(0.9, 1.1))[[0, -1]]
            if augmented:
                frames = augment(frames, rng) if rng.random() < 0.5 else augmented_clip_ends(thing, rng)
            return clip_views(frames, 1.0, config.vision.size).pixels[0]
        wave, _ = self._register_notes.draw(thing, rng)
        return mel_picture(torch.from_numpy(wave), config.audio)


def _key(thing: Thing) -> str:
    return f"{thing.modality}/{thing.subject}/{thing.manner}"
