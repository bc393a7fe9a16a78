"""Trains the nano encoder: an ImageBind in small, taught to tell what it sees and hears.

Each attribute of the world (noun, background, motion; instrument) is read off the normalised embedding by one linear
layer, since that is how the language model's input projection will read it. A sound's register is read as numbers: who
learns it as one of three classes learns which instrument lacks which. The layers are thrown away afterwards. What none
of them reads would only be noise to the language model, so an embedding learns to hold nothing else. Views are
roughened in many ways, so that a user's picture and a decoder's are read alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from motet.models.encoder.network import ImageBind, ImageBindConfig, SoundConfig, VisionConfig
from motet.training.loop import Loop, Schedule, newest, weights
from motet.training.nano.data.augment_pictures import Example, VisionExamples
from motet.training.nano.world.world import (
    BACKGROUNDS,
    INSTRUMENTS,
    MIDDLE_C,
    MOTIONS,
    NOUNS,
    REGISTERS,
    Thing,
    held_out,
)

NANO = ImageBindConfig(
    width=256,
    vision=VisionConfig(width=192, blocks=4, heads=6, patch=8, size=64),
    audio=SoundConfig(width=128, blocks=3, heads=4),
)
ATTRIBUTES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "vision": {"noun": tuple(NOUNS), "background": tuple(BACKGROUNDS), "motion": ("still", *MOTIONS)},
    "audio": {"instrument": tuple(INSTRUMENTS)},
}
# Unit vectors in, so the layers need a scale to be sure of anything.
_SCALE = 16.0
# The share of every answer that is spread over all that are possible.
_DOUBT = 0.05
# The length of what is added to an embedding of length 1 where it is learned from, so that it is read by more than a
# hair's breadth, and is not a few known points.
_BLUR = 0.3
_GAPS = [(max(low), min(high)) for low, high in pairwise(REGISTERS.values())]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is read off a batch of embeddings.

    `logits` of each attribute are (batch, values), `heights` (batch, registers) as `heights` gives them, and `unread`
    the share of the embeddings that no layer reads, ().
    """

    logits: Mapping[str, Tensor]
    heights: Tensor
    unread: Tensor


def blurred(embeddings: Tensor) -> Tensor:
    """Embeddings near these, of length 1, (n, width)."""
    noise = torch.randn_like(embeddings)
    return functional.normalize(embeddings + _BLUR * functional.normalize(noise, dim=-1), dim=-1)


def heights(pitch: Tensor) -> Tensor:
    """What is told of pitches in octaves from middle C, (n, registers).

    The pitch itself, and for each two neighbouring registers how far the way from the lower to the upper one it lies,
    from 0 to 1. No register is a class of its own, so none can be missing.
    """
    notes = MIDDLE_C + 12 * pitch
    ways = [((notes - start) / (end - start)).clamp(0, 1) for start, end in _GAPS]
    return torch.stack([pitch, *ways], dim=1)


class EncoderTrainer(nn.Module):
    """One tower of the encoder, and a linear layer per attribute that is read off its embedding."""

    def __init__(self, encoder: ImageBind, tower: str) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower
        width = encoder.config.width
        self.layers = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES[tower].items()})
        self.heights = nn.Linear(width, len(REGISTERS))
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(f".{tower}." in name)

    def forward(self, pixels: Tensor) -> Seen:
        """What is read off the embeddings of views."""
        embedding = self.encoder(self.tower, pixels).float()
        unread = 1 - (embedding @ self._basis()).square().sum(dim=1).mean()
        scaled = _SCALE * (blurred(embedding) if self.training else embedding)
        logits = {name: layer(scaled) for name, layer in self.layers.items()}
        return Seen(logits, self.heights(scaled), unread)

    @torch.no_grad()
    def _basis(self) -> Tensor:
        """An orthonormal basis of what the layers read, (width, directions)."""
        rows = torch.cat([*(layer.get_parameter("weight") for layer in self.layers.values()), self.heights.weight])
        basis: Tensor = torch.linalg.qr(rows.T).Q
        return basis


class Examples(Protocol):
    """Where examples come from."""

    def draw(self, generator: np.random.Generator) -> Example:
        """One more example; the generator alone decides which."""
        ...


def examples_for(tower: str, held_out: bool) -> Examples:
    """The examples that a tower learns from, or those that it is tested on."""
    if tower == "vision":
        return VisionExamples(NANO, held_out)
    # Rendered sounds are needed for this tower alone.
    from motet.training.nano.data.augment_sounds import SoundExamples

    return SoundExamples(NANO, held_out)


def losses(pupil: EncoderTrainer, examples: Examples, batch: int, generator: np.random.Generator) -> dict[str, Tensor]:
    """The cross-entropy of each attribute over a fresh batch, the error of the heights, and what no attribute needs."""
    drawn = [examples.draw(generator) for _ in range(batch)]
    with torch.autocast("cpu", torch.bfloat16):
        seen = pupil(torch.stack([example.pixels for example in drawn]))
    told = {
        name: _told(found.float(), targets(drawn, pupil.tower, name), _possible(drawn, pupil.tower, name))
        for name, found in seen.logits.items()
    }
    return told | {"heights": _off(seen.heights.float(), drawn), "unread": seen.unread}


def _off(found: Tensor, drawn: Sequence[Example]) -> Tensor:
    """How far off the heights are; 0 where none is told."""
    pitch = torch.tensor([example.pitch for example in drawn])
    known = ~pitch.isnan()
    return (found[known] - heights(pitch[known])).abs().sum() / known.sum().clamp(min=1)


def _told(logits: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """The cross-entropy, among the possible answers, of the examples that say something; 0 where none does."""
    scores = logits.masked_fill(~possible, -math.inf).log_softmax(dim=1)
    right = scores.gather(1, target.clamp(min=0)[:, None])[:, 0]
    even = scores.masked_fill(~possible, 0).sum(dim=1) / possible.sum(dim=1)
    told = target >= 0
    return -((1 - _DOUBT) * right + _DOUBT * even)[told].sum() / told.sum().clamp(min=1)


def _possible(drawn: Sequence[Example], tower: str, attribute: str) -> Tensor:
    """Which answers count, (batch, values): all but those that would make a held-out thing of the one shown."""
    values = ATTRIBUTES[tower][attribute]
    return torch.tensor([[_counts(example.thing, value) for value in values] for example in drawn])


def _counts(thing: Thing | None, value: str) -> bool:
    return thing is None or not any(held_out(replace(thing, **{field: value})) for field in ("subject", "manner"))


def targets(drawn: Sequence[Example], tower: str, attribute: str) -> Tensor:
    """The index of each example's value of an attribute, -100 where nothing is to be said, (batch,)."""
    values = [*ATTRIBUTES[tower][attribute]]
    found = [example.labels[attribute] for example in drawn]
    return torch.tensor([values.index(value) if value else -100 for value in found])


def accuracy(pupil: EncoderTrainer, examples: Examples, count: int = 300, seed: int = 7) -> dict[str, float]:
    """How often each attribute is right, on examples that are drawn apart from the training's."""
    generator = np.random.default_rng(seed)
    drawn = [examples.draw(generator) for _ in range(count)]
    with torch.no_grad():
        seen = pupil(torch.stack([example.pixels for example in drawn]))
    right = {name: found.argmax(dim=1) == targets(drawn, pupil.tower, name) for name, found in seen.logits.items()}
    pitch = torch.tensor([example.pitch for example in drawn])
    if not pitch.isnan().any():
        right["register"] = registers(seen.heights) == registers(heights(pitch))
    return {name: found.float().mean().item() for name, found in right.items()}


def registers(heights: Tensor) -> Tensor:
    """The place among `REGISTERS` of the register nearest to each pitch, from its heights, (n,)."""
    return heights[:, 1:].clamp(0, 1).sum(dim=1).round().long()


def export(build: Path, out: Path) -> None:
    """Joins the trained towers into one checkpoint in the reference's layout, with its config, float16."""
    state: dict[str, Tensor] = {}
    for tower in ATTRIBUTES:
        found = weights(build / tower)
        prefix = "encoder."
        state |= {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in state.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(asdict(NANO), indent=2) + "\n")


def main(
    tower: Annotated[str, typer.Argument(help="Which tower to train: vision or audio.")],
    build: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("build/encoder"),
    out: Annotated[Path, typer.Option(help="Where the finished encoder goes.")] = Path("bundles/nano/encoder"),
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes of training.")] = 12.0,
    batch: Annotated[int, typer.Option(help="Examples per step.")] = 48,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-3,
) -> None:
    """Train one tower; once both are trained, write the encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pupil = EncoderTrainer(ImageBind(NANO), tower)
    practice, test = examples_for(tower, held_out=False), examples_for(tower, held_out=True)
    schedule = Schedule(steps=20_000, rate=rate, warmup=200, minutes=minutes, average=0.995, decay=0.02)
    loop = Loop(pupil, build / tower, schedule, hidden=".blocks.")

    def sample() -> None:
        scores = accuracy(pupil, test)
        print("held out:", "  ".join(f"{name} {score:.1%}" for name, score in scores.items()), flush=True)

    loop.run(partial(losses, pupil, practice, batch), sample)
    if all(newest(build / each) for each in ATTRIBUTES):
        export(build, out)


if __name__ == "__main__":
    typer.run(main)
