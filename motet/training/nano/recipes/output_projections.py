"""Train the output projections on the hidden states of the trained language model, after all other stages.

    python -m motet.training.nano.recipes.output_projections image

The published model was trained in this order, too. The language model is frozen, so the hidden states of its signal
runs are computed once.

The loss is the squared error, not the paper's norm. The gradient of the norm is as long for an almost correct row as
for a wrong row. Most rows of a caption ("on", "a", "background") are soon almost correct, and the noise of their
gradients delayed the nouns by a thousand steps. With the squared error the nouns take two hundred steps.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.projections import TextFcLayer
from motet.training.loop import Schedule, TrainingLoop, load_weights
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, pad
from motet.training.nano.dialogues.dialogue import Dialogue, exchange
from motet.training.nano.dialogues.mixture import DialogueMixture
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.dialogues.requests import presentation
from motet.training.nano.recipes.alignment import load_alignment_model
from motet.training.nano.recipes.alignment_model import AlignmentModel, target_conditioning
from motet.training.nano.world.world import things
from motet.training.precision import fast_precision

# The kinds of dialogue, in turn. Only dialogues with edges have animations.
_KINDS = ("caption", "requests", "caption", "chat")
_KINDS_WITH_EDGES = ("edges", "edge_chat")
# Words that replace the first word of a subject of two words.
_FIRST_WORDS = ("big", "small", "old", "new", "sweet", "sour")
# The number of dialogues about such subjects, for 64 others.
_RENAMED = 4


class SignalRunStates:
    """The model's hidden states of many signal runs of one modality, and the target conditioning.

    `states` and `embedded` are (runs, length, width), `targets` (runs, queries, out_width).
    """

    def __init__(self, states: Tensor, embedded: Tensor, targets: Tensor) -> None:
        self.states, self.embedded, self.targets = states, embedded, targets

    @classmethod
    @torch.no_grad()
    def compute(
        cls, model: AlignmentModel, tokenizer: DialogueTokenizer, embeddings: EmbeddingBank, modality: str, count: int
    ) -> SignalRunStates:
        """Compute at least `count` runs, from dialogues of several kinds."""
        generator, rng = DialogueMixture(), np.random.default_rng(0)
        kinds = _KINDS_WITH_EDGES if modality == "animation" else _KINDS
        length = model.grammar.run_of(modality).length
        states: list[Tensor] = []
        embedded: list[Tensor] = []
        targets: list[Tensor] = []
        while len(states) < count:
            dialogues = [generator.dialogue(rng, kinds[i % len(kinds)]) for i in range(64)]
            dialogues += renamed_subjects(modality, _RENAMED, rng)
            sequences = [
                sequence
                for sequence in map(tokenizer.tokenize, dialogues)
                if any(thing.modality == modality for _, thing in sequence.runs)
            ]
            batch = pad(sorted(sequences, key=lambda sequence: len(sequence.ids)))
            with fast_precision():
                inputs = model.embedded(batch, embeddings)
                hidden = model.llama.model(inputs_embeds=inputs, use_cache=False).last_hidden_state.float()
            for sequence, start, thing in batch.runs:
                if thing.modality == modality:
                    states.append(hidden[sequence, start : start + length])
                    embedded.append(inputs[sequence, start : start + length])
                    targets.append(target_conditioning(thing)[0])
        return cls(torch.stack(states), torch.stack(embedded), torch.stack(targets))


def renamed_subjects(modality: str, count: int, rng: np.random.Generator) -> list[Dialogue]:
    """Return captions of invented subjects of two words, such as "an old apple moving left", if the modality has two.

    A subject of two words moves the other words of its caption by one row. Only "red apple" has two, and it never moves
    left in the training. So no caption had "left" in that row, and the projection gave another direction.
    """
    # The conditioning of a sound is the sum of the words, so their places do not matter.
    subjects = [thing for thing in things(modality) if " " in thing.subject] if modality in ("image", "video") else []
    if not subjects:
        return []
    drawn = [pick(rng, subjects) for _ in range(count)]
    renamed = [
        replace(thing, subject=" ".join((pick(rng, _FIRST_WORDS), *thing.subject.split()[1:]))) for thing in drawn
    ]
    return [exchange((thing.caption,), (presentation(thing), thing)) for thing in renamed]


@torch.no_grad()
def whiten(layer: nn.Linear, states: Tensor) -> None:
    """Set a linear layer so that its outputs over these states have mean 0 and variances near 1.

    The states of a signal token differ only slightly, for example between a dog and a cat. Whitening amplifies these
    differences.
    """
    flat = states.flatten(0, 1)
    mean = flat.mean(dim=0)
    _, singular_values, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    deviations = singular_values[: layer.out_features] / len(flat) ** 0.5
    weight = axes[: layer.out_features] / (deviations + 0.02 * deviations[0])[:, None]
    layer.weight.copy_(weight)
    layer.bias.copy_(-weight @ mean)


def main(
    modality: Annotated[str, typer.Argument(help="Modality of the projection.")],
    build: Annotated[Path, typer.Option(help="Folder of the checkpoints.")] = Path("build/alignment"),
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle to train.")] = Path("bundles/nano"),
    minutes: Annotated[float, typer.Option(help="Longest training in minutes of CPU time.")] = 6.0,
    count: Annotated[int, typer.Option(help="Signal runs to train on.")] = 1000,
    batch: Annotated[int, typer.Option(help="Signal runs per step.")] = 96,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    threads: Annotated[int, typer.Option(help="CPU threads. The CPU time is the sum over all threads.")] = 1,
) -> None:
    """Train one output projection, and replace it in the bundle."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, text_tokenizer, control = load_alignment_model(bundle)
    model.load_state_dict(load_weights(build / "instruction"), strict=False)
    tokenizer = DialogueTokenizer(text_tokenizer, model.grammar, control)
    embeddings = EmbeddingBank.load(build.parent / "bank.safetensors")
    runs = SignalRunStates.compute(model, tokenizer, embeddings, modality, count)
    config = model.projections.config
    layer = TextFcLayer(config.model_width, config.outputs[modality])
    whiten(layer.fc, runs.states + runs.embedded)

    def losses(rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = torch.from_numpy(rng.integers(0, len(runs.states), batch))
        projected = layer(runs.states[chosen], runs.embedded[chosen])
        return {modality: functional.mse_loss(projected, runs.targets[chosen])}

    def export() -> None:
        replace_weights(bundle / "projections" / "model.safetensors", f"outputs.{modality}.", layer)

    # The strong weight decay prevents overfitting to the trained combinations. It raised the cosine similarity of
    # held-out sounds from 0.974 to 0.988.
    schedule = Schedule(steps=100_000, rate=rate, warmup=20, minutes=minutes, average=0.95, decay=1.0)
    TrainingLoop(layer, build / f"output-projection-{modality}", schedule).run(losses, export)


def replace_weights(path: Path, prefix: str, layer: nn.Module) -> None:
    """Replace the weights of one output projection in a file."""
    state = load_file(path)
    trained = {to_v0(prefix + name): value.detach().half().contiguous() for name, value in layer.state_dict().items()}
    # Write another file, then rename it: two simultaneous trainings or an interruption leave a complete file.
    temporary = path.with_suffix(f".{os.getpid()}")
    save_file(state | trained, temporary)
    temporary.replace(path)


if __name__ == "__main__":
    typer.run(main)
