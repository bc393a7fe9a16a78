"""Asks a finished bundle's language model about things that nothing was trained on, and marks its answers.

No decoder takes part: an answer is right when it asks for the right modalities in the right order, and when the
conditioning it gives is nearer to the right caption's than to that of any other thing.
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
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.dialogues.dialogues import Dialogue, DialogueGenerator, Utterance
from motet.training.nano.dialogues.requests import worded
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES, Thing, things

_CEILINGS = dict.fromkeys(MODALITIES, 8)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and the things that its conditioning is nearest to."""

    text: str
    things: tuple[Thing, ...]


class Examiner:
    """Puts dialogues to a language model."""

    def __init__(self, model: LlamaLanguageModel, bank: EmbeddingBank) -> None:
        self._model, self._bank = model, bank
        self.scores: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    async def answer(self, heard: Sequence[Utterance]) -> Answer:
        """The model's answer to what was said so far."""
        text, found = "", []
        prompt = Prompt(tuple(self._turn(utterance) for utterance in heard), _CEILINGS)
        async for event in self._model.generate(prompt, Deadline.after(120)):
            if isinstance(event, TextPiece):
                text += event.text
            elif isinstance(event, Signal):
                found.append(nearest(event.modality, to_torch(event.conditioning)))
        return Answer(text, tuple(found))

    async def mark(self, dialogue: Dialogue, scene: str, aloud: bool) -> None:
        """Asks the dialogue's last question and notes how it was answered."""
        expected = dialogue[-1]
        wanted = tuple(part for part in expected.parts if isinstance(part, Thing))
        said = "".join(part for part in expected.parts if isinstance(part, str))
        got = await self.answer(dialogue[:-1])
        if wanted:
            self._note(f"{scene}: modalities", [t.modality for t in got.things] == [t.modality for t in wanted])
            for right, found in zip(wanted, got.things, strict=False):
                self._note(f"{scene}: {right.modality} subject", right.subject == found.subject)
                self._note(f"{scene}: {right.modality} manner", right.manner == found.manner)
        self._note(f"{scene}: text", got.text == said)
        if aloud and (got.text != said or got.things != wanted):
            print(f"  {dialogue[-2].parts}\n    want {said!r}\n    got  {got.text!r}\n    {wanted} {got.things}")

    def _note(self, name: str, right: bool) -> None:
        self.asked[name] += 1
        self.scores[name] += right

    def _turn(self, utterance: Utterance) -> Turn:
        parts: list[str | Embedding] = []
        for part in utterance.parts:
            if isinstance(part, Thing):
                parts.append(Embedding(part.modality, from_torch(self._bank.draw([part])[0])))
            else:
                parts.append(worded(part))
        return Turn(utterance.role, tuple(parts))


def nearest(modality: str, conditioning: torch.Tensor) -> Thing:
    """The thing whose caption's conditioning is nearest."""
    taught = _taught(modality)
    distances = (taught - conditioning.reshape(1, *taught.shape[1:])).square().sum(dim=(1, 2))
    return things(modality)[int(distances.argmin())]


@cache
def _taught(modality: str) -> torch.Tensor:
    return caption_encoder.encode(modality, [thing.caption for thing in things(modality)])


async def examine(examiner: Examiner, scenes: Sequence[str], count: int, seed: int, aloud: bool) -> None:
    """Asks `count` questions of each scene."""
    scribe = DialogueGenerator(apart=True)
    for scene in scenes:
        for number in range(count):
            generator = np.random.default_rng((seed, number))
            dialogue = scribe.wishes(generator, plain=True) if scene == "wishes" else scribe.dialogue(generator, scene)
            kind = next((f" {p.modality}" for p in dialogue[0].parts if isinstance(p, Thing)), "")
            await examiner.mark(dialogue, scene + (kind if scene in ("question", "describe") else ""), aloud)


def main(
    bundle: Annotated[Path, typer.Option(help="The bundle to examine.")] = Path("bundles/nano"),
    bank: Annotated[Path, typer.Option(help="Where embeddings of test media are kept.")] = Path(
        "build/bank-test.safetensors"
    ),
    count: Annotated[int, typer.Option(help="Questions per scene.")] = 60,
    scenes: Annotated[str, typer.Option(help="Which scenes, with commas.")] = "wishes,describe,question,variation,chat",
    seed: Annotated[int, typer.Option(help="Another seed asks other questions.")] = 1,
    aloud: Annotated[bool, typer.Option(help="Print every answer that differs from the expected one.")] = False,
) -> None:
    """Examine a bundle's language model; prints the scores as JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    loaded = Bundle.load(bundle, parts=())
    encoder = load_imagebind(bundle / loaded.manifest.encoder.path)
    examiner = Examiner(load_language_model(loaded), EmbeddingBank.filled(encoder, bank, apart=True))
    asyncio.run(examine(examiner, scenes.split(","), count, seed, aloud))
    scores = {name: round(examiner.scores[name] / asked, 3) for name, asked in examiner.asked.items()}
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    typer.run(main)
