"""Train the parts between the frozen networks in three stages: projections, adapter and control tokens.

    python -m motet.training.nano.recipes.alignment decoding
    python -m motet.training.nano.recipes.alignment encoding
    python -m motet.training.nano.recipes.alignment instruction

Each stage continues from the previous one. The last stage writes the bundle's `lora` and `projections`.
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
from motet.models.model_folder import ModelFolder
from motet.training.loop import Schedule, TrainingLoop, load_weights, newest_checkpoint
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, TokenizedDialogue, draw_batch
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.recipes.alignment_model import RUN_LENGTHS, AlignmentModel, nano_projections
from motet.training.nano.recipes.base_language_model import MAX_LENGTH
from motet.training.nano.recipes.earlier_edition import load_edition
from motet.training.nano.recipes.encoder import NANO
from motet.training.nano.recipes.stages import DECODING, STAGES
from motet.training.stages import TrainingStage


def load_alignment_model(bundle: Path) -> tuple[AlignmentModel, Tokenizer, int]:
    """Return an untrained model around the bundle's language model, its tokenizer, and the id of its first control."""
    config = LlamaConfig.from_dict(json.loads((bundle / "llm" / "config.json").read_text()))
    base = LlamaForCausalLM(config)
    state = load_file(bundle / "llm" / "model.safetensors")
    base.load_state_dict({name: value.float() for name, value in state.items()}, strict=True)
    control = config.vocab_size
    grammar = Grammar.from_lengths(control + 2, RUN_LENGTHS)
    model = AlignmentModel(base, grammar, nano_projections(NANO.width, config.hidden_size))
    return model, Tokenizer.load(bundle / "llm" / "tokenizer.json"), control


def losses(
    model: AlignmentModel,
    stage: TrainingStage,
    tokenizer: DialogueTokenizer,
    embeddings: EmbeddingBank,
    tokens: int,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return the losses over one batch of new dialogues of the stage."""
    dialogues = DialogueMixture()
    kinds, odds = list(stage.dialogue_odds), np.array(list(stage.dialogue_odds.values()))

    def draw_sequence(rng: np.random.Generator) -> TokenizedDialogue:
        return tokenizer.tokenize(dialogues.dialogue(rng, str(rng.choice(kinds, p=odds / odds.sum()))))

    return model.losses(draw_batch(draw_sequence, tokens, MAX_LENGTH, rng), embeddings)


def main(
    stage_name: Annotated[str, typer.Argument(metavar="STAGE", help="decoding, encoding or instruction.")],
    build: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("build/alignment"),
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle to train.")] = Path("bundles/nano"),
    minutes: Annotated[
        float | None, typer.Option(help="Length in minutes of CPU time. Default: the stage's length.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Token ids per step.")] = 2048,
    rate: Annotated[float | None, typer.Option(help="Highest learning rate. Default: the stage's rate.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads. The CPU time is the sum over all threads.")] = 1,
    base: Annotated[
        bool, typer.Option("--base", help="Train the weights of the language model, too, not only its adapter.")
    ] = False,
    initial: Annotated[
        Path | None,
        typer.Option(help="Bundle with the initial adapter and projections. Default: earlier stages."),
    ] = None,
) -> None:
    """Train one stage of the alignment."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    index = [stage.name for stage in STAGES].index(stage_name)
    stage = STAGES[index]
    model, text_tokenizer, control = load_alignment_model(bundle)
    if initial:
        load_edition(model, initial)
    for earlier in STAGES[:index]:
        if not initial and newest_checkpoint(build / earlier.name):
            model.load_state_dict(load_weights(build / earlier.name), strict=False)
    model.train_parts(stage.parts | {"base"} if base else stage.parts)
    # The dialogues of the decoding stage have no attachments, so this stage does not need the encoder.
    embeddings = (
        EmbeddingBank({})
        if stage is DECODING
        else EmbeddingBank.load_or_compute(
            load_imagebind(ModelFolder.unlisted(bundle / "encoder")), build.parent / "bank.safetensors"
        )
    )
    schedule = Schedule(
        steps=50_000, rate=rate or stage.rate, warmup=100, minutes=minutes or stage.minutes, average=0.99, decay=0.01
    )
    tokenizer = DialogueTokenizer(text_tokenizer, model.grammar, control)

    def export() -> None:
        model.export(bundle / "lora", bundle / "projections")
        if base:
            model.export_base(bundle / "llm")

    # Without Muon: torch's computes in bfloat16, which a CPU without its instructions emulates. A step then takes ten
    # times as long.
    loop = TrainingLoop(model, build / stage.name, schedule)
    loop.run(partial(losses, model, stage, tokenizer, embeddings, tokens), export)


if __name__ == "__main__":
    typer.run(main)
