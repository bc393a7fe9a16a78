"""Trains the output projections on the states of the finished language model: the second stage once more, at the end.

    python -m motet.training.nano.recipes.output_projections image

The published model was trained in this order too, the second stage last. With the language model frozen, the states
of its signal runs are computed once; what is left is small.

The loss is the squared error here, not the paper's norm. The norm's gradient is as long for a row that is almost right
as for one that is all wrong, and most rows of a caption ("on", "a", "background") are soon right: their noise drowned
the nouns for a thousand steps, while the square learns them in two hundred.
"""

from __future__ import annotations

import os
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
from motet.training.loop import Loop, Schedule, weights
from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.data.token_batches import DialogueTokenizer, padded
from motet.training.nano.dialogues.dialogues import DialogueGenerator
from motet.training.nano.recipes.alignment import load_alignment_model
from motet.training.nano.recipes.alignment_model import AlignmentModel, taught

_SCENES = ("caption", "wishes", "caption", "chat")


class Runs:
    """The runs of one modality that the model wrote in many dialogues: its states, and what they should mean.

    `states` and `embedded` are (runs, length, width), `targets` (runs, queries, out_width).
    """

    def __init__(self, states: Tensor, embedded: Tensor, targets: Tensor) -> None:
        self.states, self.embedded, self.targets = states, embedded, targets

    @classmethod
    @torch.no_grad()
    def of(
        cls, student: AlignmentModel, writer: DialogueTokenizer, bank: EmbeddingBank, modality: str, count: int
    ) -> Runs:
        """As many runs as asked for, from dialogues of several scenes."""
        scribe, generator = DialogueGenerator(), np.random.default_rng(0)
        length = student.grammar.run_of(modality).length
        states: list[Tensor] = []
        embedded: list[Tensor] = []
        targets: list[Tensor] = []
        while len(states) < count:
            dialogues = [scribe.dialogue(generator, _SCENES[i % len(_SCENES)]) for i in range(64)]
            rows = [row for row in map(writer.row, dialogues) if any(t.modality == modality for _, t in row.runs)]
            batch = padded(sorted(rows, key=lambda row: len(row.ids)))
            with torch.autocast("cpu", torch.bfloat16):
                inputs = student.embedded(batch, bank)
                hidden = student.llama.model(inputs_embeds=inputs, use_cache=False).last_hidden_state.float()
            for row, place, thing in batch.runs:
                if thing.modality == modality:
                    states.append(hidden[row, place : place + length])
                    embedded.append(inputs[row, place : place + length])
                    targets.append(taught(thing)[0])
        return cls(torch.stack(states), torch.stack(embedded), torch.stack(targets))


@torch.no_grad()
def whiten(layer: nn.Linear, states: Tensor) -> None:
    """Sets a linear layer so that its outputs over these states have mean 0 and variances near 1.

    All states of a signal token are alike but for the little that tells a dog from a cat; so the little is seen.
    """
    flat = states.flatten(0, 1)
    mean = flat.mean(dim=0)
    _, spread, axes = torch.linalg.svd(flat - mean, full_matrices=False)
    deviations = spread[: layer.out_features] / len(flat) ** 0.5
    weight = axes[: layer.out_features] / (deviations + 0.02 * deviations[0])[:, None]
    layer.weight.copy_(weight)
    layer.bias.copy_(-weight @ mean)


def main(
    modality: Annotated[str, typer.Argument(help="Whose projection to train.")],
    build: Annotated[Path, typer.Option(help="Where checkpoints are.")] = Path("build/alignment"),
    bundle: Annotated[Path, typer.Option(help="The bundle that is being made.")] = Path("bundles/nano"),
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes of training.")] = 6.0,
    count: Annotated[int, typer.Option(help="How many runs to learn from.")] = 1000,
    batch: Annotated[int, typer.Option(help="Runs per step.")] = 96,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-3,
    threads: Annotated[int, typer.Option(help="CPU threads; minutes are counted over all of them.")] = 1,
) -> None:
    """Train one output projection, and write it into the bundle beside the others."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    student, codec, control = load_alignment_model(bundle)
    student.load_state_dict(weights(build / "instruction"), strict=False)
    writer = DialogueTokenizer(codec, student.grammar, control)
    bank = EmbeddingBank.filled_already(build.parent / "bank.safetensors")
    runs = Runs.of(student, writer, bank, modality, count)
    config = student.projections.config
    layer = TextFcLayer(config.model_width, config.outputs[modality])
    whiten(layer.fc, runs.states + runs.embedded)

    def losses(generator: np.random.Generator) -> dict[str, Tensor]:
        chosen = torch.from_numpy(generator.integers(0, len(runs.states), batch))
        projected = layer(runs.states[chosen], runs.embedded[chosen])
        return {modality: functional.mse_loss(projected, runs.targets[chosen])}

    def finish() -> None:
        replace(bundle / "projections" / "model.safetensors", f"outputs.{modality}.", layer)

    # Without much decay it learns the trained combinations by heart: held-out sounds had a cosine of 0.974, not 0.988.
    schedule = Schedule(steps=100_000, rate=rate, warmup=20, minutes=minutes, average=0.95, decay=1.0)
    Loop(layer, build / f"voicing-{modality}", schedule).run(losses, finish)


def replace(path: Path, prefix: str, layer: nn.Module) -> None:
    """Puts one output projection's weights in the place of those in a file."""
    state = load_file(path)
    trained = {to_v0(prefix + name): value.detach().half().contiguous() for name, value in layer.state_dict().items()}
    # Written beside it and moved, so that two trainings at once, or a stop, leave a whole file.
    beside = path.with_suffix(f".{os.getpid()}")
    save_file(state | trained, beside)
    beside.replace(path)


if __name__ == "__main__":
    typer.run(main)
