"""Trains what joins the frozen parts: the projections, the adapter and the control tokens, in three stages.

    python -m motet.training.nano.recipes.alignment decoding
    python -m motet.training.nano.recipes.alignment encoding
    python -m motet.training.nano.recipes.alignment instruction

Each goes on from the one before it. The last one writes the bundle's `lora` and `projections`.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from motet.core.signals import Grammar
from motet.models.encoder.imagebind import load_imagebind
from motet.models.llm.tokenizer import Tokenizer
from motet.training.loop import Loop, Schedule, newest, weights
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, TokenizedDialogue, batch
from motet.training.nano.dialogues.dialogues import DialogueGenerator
from motet.training.nano.recipes.alignment_model import RUNS, AlignmentModel, nano_projections
from motet.training.nano.recipes.base_language_model import LONGEST
from motet.training.nano.recipes.encoder import NANO
from motet.training.stages import DECODING, STAGES, TrainingStage


def load_alignment_model(bundle: Path) -> tuple[AlignmentModel, Tokenizer, int]:
    """A fresh student around the bundle's language model, its text codec, and the id of its first control token."""
    config = LlamaConfig.from_dict(json.loads((bundle / "llm" / "config.json").read_text()))
    base = LlamaForCausalLM(config)
    state = load_file(bundle / "llm" / "model.safetensors")
    base.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    control = config.vocab_size
    student = AlignmentModel(
        base, Grammar.following(control + 2, RUNS), nano_projections(NANO.width, config.hidden_size)
    )
    return student, Tokenizer.load(bundle / "llm" / "tokenizer.json"), control


def losses(
    student: AlignmentModel,
    stage: TrainingStage,
    writer: DialogueTokenizer,
    bank: EmbeddingBank,
    tokens: int,
    generator: np.random.Generator,
) -> dict[str, Tensor]:
    """The losses over one batch of fresh dialogues of the stage's scenes."""
    scribe = DialogueGenerator()
    names, odds = list(stage.scenes), np.array(list(stage.scenes.values()))

    def row(draw: np.random.Generator) -> TokenizedDialogue:
        return writer.row(scribe.dialogue(draw, str(draw.choice(names, p=odds / odds.sum()))))

    return student.losses(batch(row, tokens, LONGEST, generator), bank)


def main(
    stage_name: Annotated[str, typer.Argument(metavar="STAGE", help="decoding, encoding or instruction.")],
    build: Annotated[Path, typer.Option(help="Where checkpoints go.")] = Path("build/alignment"),
    bundle: Annotated[Path, typer.Option(help="The bundle that is being made.")] = Path("bundles/nano"),
    minutes: Annotated[float | None, typer.Option(help="Minutes of training; the stage's own without it.")] = None,
    tokens: Annotated[int, typer.Option(help="Token ids per step.")] = 2048,
    rate: Annotated[float | None, typer.Option(help="The highest learning rate; the stage's own without it.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; minutes are counted over all of them.")] = 1,
) -> None:
    """Train one stage."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    place = [stage.name for stage in STAGES].index(stage_name)
    stage = STAGES[place]
    student, codec, control = load_alignment_model(bundle)
    for earlier in STAGES[:place]:
        if newest(build / earlier.name):
            student.load_state_dict(weights(build / earlier.name), strict=False)
    student.learn(stage.parts)
    # The second stage attaches nothing, so it need not wait for the encoder.
    listens = stage is not DECODING
    bank = (
        EmbeddingBank.filled(load_imagebind(bundle / "encoder"), build.parent / "bank.safetensors")
        if listens
        else EmbeddingBank({})
    )
    schedule = Schedule(
        steps=50_000, rate=rate or stage.rate, warmup=100, minutes=minutes or stage.minutes, average=0.99, decay=0.01
    )
    writer = DialogueTokenizer(codec, student.grammar, control)

    def sample() -> None:
        student.export(bundle / "lora", bundle / "projections")

    loop = Loop(student, build / stage.name, schedule)
    loop.run(partial(losses, student, stage, writer, bank, tokens), sample)


if __name__ == "__main__":
    typer.run(main)
