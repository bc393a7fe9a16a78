"""Train the nano encoder: a small ImageBind that recognises the attributes of the nano world.

    python -m motet.training.nano.recipes.encoder vision
    python -m motet.training.nano.recipes.encoder audio

A linear layer per attribute (noun, background, motion, instrument) reads the normalised embedding, because the language
model's input projection is linear, too. The register of a sound is a regression target: with one class per register the
tower would learn which register an instrument lacks. The linear layers are not exported. A loss removes all information
that no layer reads, because it would be noise for the language model. Examples are augmented, so that the embeddings of
a user's pictures and of a decoder's pictures are alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from motet.models.encoder.network import ImageBind, ImageBindConfig, SoundConfig, VisionConfig
from motet.training.loop import Schedule, TrainingLoop, load_weights, newest_checkpoint
from motet.training.nano.data.augment_pictures import VisionExamples
from motet.training.nano.data.encoder_example import EncoderExample, ExampleSource
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
from motet.training.precision import fast_precision

NANO = ImageBindConfig(
    width=256,
    vision=VisionConfig(width=192, blocks=4, heads=6, patch=8, size=64),
    audio=SoundConfig(width=128, blocks=3, heads=4),
)
ATTRIBUTES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "vision": {"noun": tuple(NOUNS), "background": tuple(BACKGROUNDS), "motion": ("still", *MOTIONS)},
    "audio": {"instrument": tuple(INSTRUMENTS)},
}
# Factor of the embeddings before the layers: with unit vectors no answer would get a high probability.
_SCALE = 16.0
# Label smoothing: the share of the target probability that all possible answers share equally.
_SMOOTHING = 0.05
# Length of the noise on an embedding of length 1 during training. The noise prevents memorisation of single embeddings.
_NOISE = 0.3
# The highest note of each register but the last, and the lowest note of the next register.
_GAPS = [(max(low), min(high)) for low, high in pairwise(REGISTERS.values())]


@dataclass(frozen=True, slots=True)
class EncoderReadout:
    """The predictions from a batch of embeddings.

    `logits` of each attribute are (batch, values), `heights` are (batch, registers), see the function `heights`, and
    `unread` is the share of the embeddings that no layer reads, ().
    """

    logits: Mapping[str, Tensor]
    heights: Tensor
    unread: Tensor


def with_noise(embeddings: Tensor) -> Tensor:
    """Return the embeddings with random noise, normalised to length 1, (n, width)."""
    noise = torch.randn_like(embeddings)
    return functional.normalize(embeddings + _NOISE * functional.normalize(noise, dim=-1), dim=-1)


def heights(pitch: Tensor) -> Tensor:
    """Return the regression targets of pitches in octaves from middle C, (n, registers).

    The first target is the pitch. There is one more target per gap between registers: the position of the pitch in the
    gap, from 0 (lower register) to 1 (upper register). No register is a class, so the tower cannot learn that an
    instrument lacks it.
    """
    notes = MIDDLE_C + 12 * pitch
    positions = [((notes - start) / (end - start)).clamp(0, 1) for start, end in _GAPS]
    return torch.stack([pitch, *positions], dim=1)


class EncoderTrainer(nn.Module):
    """One tower of the encoder, with a linear layer per attribute."""

    def __init__(self, encoder: ImageBind, tower: str) -> None:
        super().__init__()
        self.encoder, self.tower = encoder, tower
        width = encoder.config.width
        self.layers = nn.ModuleDict({name: nn.Linear(width, len(values)) for name, values in ATTRIBUTES[tower].items()})
        self.heights = nn.Linear(width, len(REGISTERS))
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(f".{tower}." in name)

    def forward(self, pixels: Tensor) -> EncoderReadout:
        """Return the predictions from the embeddings of a batch."""
        embedding = self.encoder(self.tower, pixels).float()
        unread = 1 - (embedding @ self._basis()).square().sum(dim=1).mean()
        scaled = _SCALE * (with_noise(embedding) if self.training else embedding)
        logits = {name: layer(scaled) for name, layer in self.layers.items()}
        return EncoderReadout(logits, self.heights(scaled), unread)

    @torch.no_grad()
    def _basis(self) -> Tensor:
        """Return an orthonormal basis of the directions that the layers read, (width, directions)."""
        weights = torch.cat([*(layer.get_parameter("weight") for layer in self.layers.values()), self.heights.weight])
        basis: Tensor = torch.linalg.qr(weights.T).Q
        return basis


def examples_for(tower: str, test_split: bool) -> ExampleSource:
    """Return the examples of a tower's training, or those of its test."""
    if tower == "vision":
        return VisionExamples(NANO, test_split)
    # Imported here, because only the audio tower needs rendered sounds.
    from motet.training.nano.data.augment_sounds import SoundExamples

    return SoundExamples(NANO, test_split)


def losses(trainer: EncoderTrainer, source: ExampleSource, batch: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return the cross-entropy of each attribute over a new batch, the error of the heights, and the unread share."""
    examples = [source.draw(rng) for _ in range(batch)]
    with fast_precision():
        readout = trainer(torch.stack([example.pixels for example in examples]))
    entropies = {
        name: _cross_entropy(
            logits.float(), targets(examples, trainer.tower, name), _possible(examples, trainer.tower, name)
        )
        for name, logits in readout.logits.items()
    }
    return entropies | {"heights": _height_error(readout.heights.float(), examples), "unread": readout.unread}


def _height_error(predicted: Tensor, examples: Sequence[EncoderExample]) -> Tensor:
    """Return the mean absolute error of the heights over the examples with a pitch, or 0 if there are none."""
    pitch = torch.tensor([example.pitch for example in examples])
    known = ~pitch.isnan()
    return (predicted[known] - heights(pitch[known])).abs().sum() / known.sum().clamp(min=1)


def _cross_entropy(logits: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """Return the smoothed cross-entropy over the labelled examples, or 0 if there are none.

    The softmax includes only the possible answers.
    """
    scores = logits.masked_fill(~possible, -math.inf).log_softmax(dim=1)
    of_target = scores.gather(1, target.clamp(min=0)[:, None])[:, 0]
    mean = scores.masked_fill(~possible, 0).sum(dim=1) / possible.sum(dim=1)
    labelled = target >= 0
    total = ((1 - _SMOOTHING) * of_target + _SMOOTHING * mean)[labelled].sum()
    return -total / labelled.sum().clamp(min=1)


def _possible(examples: Sequence[EncoderExample], tower: str, attribute: str) -> Tensor:
    """Return a mask of the answers in the softmax, (batch, values): all except those that name a held-out thing."""
    values = ATTRIBUTES[tower][attribute]
    return torch.tensor([[_is_possible(example.thing, value) for value in values] for example in examples])


def _is_possible(thing: Thing | None, value: str) -> bool:
    return thing is None or not any(held_out(replace(thing, **{field: value})) for field in ("subject", "manner"))


def targets(examples: Sequence[EncoderExample], tower: str, attribute: str) -> Tensor:
    """Return the index of each example's label of an attribute, or -100 without a label, (batch,)."""
    values = [*ATTRIBUTES[tower][attribute]]
    labels = [example.labels[attribute] for example in examples]
    return torch.tensor([values.index(label) if label else -100 for label in labels])


def accuracy(trainer: EncoderTrainer, source: ExampleSource, count: int = 300, seed: int = 7) -> dict[str, float]:
    """Return the share of correct answers of each attribute, on `count` examples."""
    rng = np.random.default_rng(seed)
    examples = [source.draw(rng) for _ in range(count)]
    with torch.no_grad():
        readout = trainer(torch.stack([example.pixels for example in examples]))
    correct = {
        name: logits.argmax(dim=1) == targets(examples, trainer.tower, name) for name, logits in readout.logits.items()
    }
    pitch = torch.tensor([example.pitch for example in examples])
    if not pitch.isnan().any():
        correct["register"] = registers(readout.heights) == registers(heights(pitch))
    return {name: each.float().mean().item() for name, each in correct.items()}


def registers(heights: Tensor) -> Tensor:
    """Return the index in `REGISTERS` of the register nearest to each pitch, from its heights, (n,)."""
    return heights[:, 1:].clamp(0, 1).sum(dim=1).round().long()


def export(build: Path, out: Path) -> None:
    """Write the trained towers as one float16 checkpoint in the reference layout, with its config."""
    state: dict[str, Tensor] = {}
    for tower in ATTRIBUTES:
        trained = load_weights(build / tower)
        prefix = "encoder."
        state |= {name.removeprefix(prefix): value for name, value in trained.items() if name.startswith(prefix)}
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in state.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(asdict(NANO), indent=2) + "\n")


def main(
    tower: Annotated[str, typer.Argument(help="vision or audio.")],
    build: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("build/encoder"),
    out: Annotated[Path, typer.Option(help="Folder of the trained encoder.")] = Path("bundles/nano/encoder"),
    minutes: Annotated[float, typer.Option(help="Longest training in minutes of CPU time.")] = 12.0,
    batch: Annotated[int, typer.Option(help="Examples per step.")] = 48,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
) -> None:
    """Train one tower. If both towers have a checkpoint, write the encoder."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trainer = EncoderTrainer(ImageBind(NANO), tower)
    training, test = examples_for(tower, test_split=False), examples_for(tower, test_split=True)
    schedule = Schedule(steps=20_000, rate=rate, warmup=200, minutes=minutes, average=0.995, decay=0.02)
    loop = TrainingLoop(trainer, build / tower, schedule, hidden=".blocks.")

    def print_accuracy() -> None:
        scores = accuracy(trainer, test)
        print("held out:", "  ".join(f"{name} {score:.1%}" for name, score in scores.items()), flush=True)

    loop.run(partial(losses, trainer, training, batch), print_accuracy)
    if all(newest_checkpoint(build / each) for each in ATTRIBUTES):
        export(build, out)


if __name__ == "__main__":
    typer.run(main)
