"""Measure a bundle's language model on held-out things, without decoders.

    python -m motet.training.nano.recipes.probe_language_model

A response is correct if it requests the right modalities in the right order, and if each conditioning is nearer to the
caption of the right thing than to the caption of any other thing.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.workers import Embedding, Prompt, Signal, TextPiece, Turn
from motet.models.arrays import from_torch, to_torch
from motet.models.encoder.imagebind import load_imagebind
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.model_folder import ModelFolder
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.dialogues.dialogue import Dialogue, Utterance, plain_text
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import FILM, MODALITIES, Thing, things

_MAX_SIGNALS = dict.fromkeys((*MODALITIES, "animation", FILM.modality), 8)


@dataclass(frozen=True, slots=True)
class ProbedResponse:
    """The model's text, and for each signal the thing whose caption is nearest to the conditioning."""

    text: str
    things: tuple[Thing, ...]


class LanguageModelProbe:
    """A probe that sends dialogues to a language model and counts the correct responses by category."""

    def __init__(self, model: LlamaLanguageModel, embeddings: EmbeddingBank) -> None:
        self._model, self._embeddings = model, embeddings
        self.correct: Counter[str] = Counter()
        self.total: Counter[str] = Counter()

    async def respond(self, utterances: Sequence[Utterance]) -> ProbedResponse:
        """Return the model's response to the utterances."""
        text, found = "", []
        prompt = Prompt(tuple(self._turn(utterance) for utterance in utterances), _MAX_SIGNALS)
        async for event in self._model.generate(prompt, Deadline.after(120)):
            if isinstance(event, TextPiece):
                text += event.text
            elif isinstance(event, Signal):
                found.append(nearest_thing(event.modality, to_torch(event.conditioning)))
        return ProbedResponse(text, tuple(found))

    async def probe(self, dialogue: Dialogue, category: str, verbose: bool) -> None:
        """Compare the model's response to the dialogue's last utterance, and count the result."""
        expected = dialogue[-1]
        expected_things = tuple(part for part in expected.parts if isinstance(part, Thing))
        expected_text = "".join(part for part in expected.parts if isinstance(part, str))
        response = await self.respond(dialogue[:-1])
        if expected_things:
            same_modalities = [t.modality for t in response.things] == [t.modality for t in expected_things]
            self._count(f"{category}: modalities", same_modalities)
            for right, found in zip(expected_things, response.things, strict=False):
                if right.modality == FILM.modality:
                    continue
                # The conditioning of an animation does not name the subject.
                if right.modality != "animation":
                    self._count(f"{category}: {right.modality} subject", right.subject == found.subject)
                self._count(f"{category}: {right.modality} manner", right.manner == found.manner)
        self._count(f"{category}: text", response.text == expected_text)
        if verbose and (response.text != expected_text or response.things != expected_things):
            print(f"  {dialogue[-2].parts}")
            print(f"    expected {expected_text!r} {expected_things}\n    actual   {response.text!r} {response.things}")

    def _count(self, name: str, correct: bool) -> None:
        self.total[name] += 1
        self.correct[name] += correct

    def _turn(self, utterance: Utterance) -> Turn:
        parts: list[str | Embedding] = []
        for part in utterance.parts:
            if isinstance(part, Thing):
                parts.append(Embedding(part.modality, from_torch(self._embeddings.draw([part])[0])))
            else:
                parts.append(plain_text(part))
        return Turn(utterance.role, tuple(parts))


def nearest_thing(modality: str, conditioning: torch.Tensor) -> Thing:
    """Return the thing whose caption has the nearest conditioning. A film has no caption."""
    if modality == FILM.modality:
        return FILM
    candidates = _caption_conditioning(modality)
    distances = (candidates - conditioning.reshape(1, *candidates.shape[1:])).square().sum(dim=(1, 2))
    return things(modality)[int(distances.argmin())]


@cache
def _caption_conditioning(modality: str) -> torch.Tensor:
    return caption_encoder.encode(modality, [thing.caption for thing in things(modality)])


async def probe_all(probe: LanguageModelProbe, kinds: Sequence[str], count: int, seed: int, verbose: bool) -> None:
    """Probe `count` dialogues of each kind."""
    mixture = DialogueMixture(test_split=True)
    for kind in kinds:
        for number in range(count):
            rng = np.random.default_rng((seed, number))
            complete = kind == "requests"
            dialogue = mixture.generator.requests(rng, True) if complete else mixture.dialogue(rng, kind)
            attached = next((f" {part.modality}" for part in dialogue[0].parts if isinstance(part, Thing)), "")
            await probe.probe(dialogue, kind + (attached if kind in ("question", "describe") else ""), verbose)


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")] = Path("bundles/nano"),
    embeddings: Annotated[Path, typer.Option(help="File of the embeddings of test media.")] = Path(
        "build/bank-test.safetensors"
    ),
    count: Annotated[int, typer.Option(help="Dialogues per kind.")] = 60,
    kinds: Annotated[
        str, typer.Option(help="Kinds of dialogue, separated by commas.")
    ] = "requests,describe,question,follow_up,chat",
    seed: Annotated[int, typer.Option(help="Seed of the dialogues.")] = 1,
    verbose: Annotated[bool, typer.Option(help="Print every response that differs from the expected one.")] = False,
) -> None:
    """Measure a bundle's language model, and print the share of correct responses as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    loaded = Bundle.load(bundle, folders=())
    encoder = load_imagebind(ModelFolder.of(loaded, loaded.manifest.encoder.path))
    bank = EmbeddingBank.load_or_compute(encoder, embeddings, test_split=True)
    probe = LanguageModelProbe(load_language_model(loaded), bank)
    asyncio.run(probe_all(probe, kinds.split(","), count, seed, verbose))
    print(json.dumps({name: round(probe.correct[name] / total, 3) for name, total in probe.total.items()}, indent=2))


if __name__ == "__main__":
    typer.run(main)
