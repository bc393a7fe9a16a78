"""Trains the output projections on the states of the finished language model: the second stage once more, at the end.

    python -m motet.training.voicing image

The published model was trained in this order too, the second stage last. With the language model frozen, the states
of its signal runs are computed once; what is left is small, and can look at all things in every step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from motet.models.projectors import distance
from motet.training.alignment import load_student
from motet.training.bank import Bank
from motet.training.corpus import Writer, padded
from motet.training.dialogues import Scribe
from motet.training.loop import Loop, Schedule, weights
from motet.training.student import Student, taught

_SCENES = ("caption", "caption", "wishes", "chat")


class Runs:
    """The runs of one modality that the model wrote in many dialogues: its states, and what they should mean.

    `states` and `embedded` are (runs, length, width), `targets` (runs, queries, out_width).
    """

    def __init__(self, states: Tensor, embedded: Tensor, targets: Tensor) -> None:
        self.states, self.embedded, self.targets = states, embedded, targets

    @classmethod
    @torch.no_grad()
    def of(cls, student: Student, writer: Writer, bank: Bank, modality: str, count: int) -> Runs:
        """As many runs as asked for, from dialogues of several scenes."""
        scribe, generator = Scribe(), np.random.default_rng(0)
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


def main(
    modality: Annotated[str, typer.Argument(help="Whose projection to train.")],
    build: Annotated[Path, typer.Option(help="Where checkpoints are.")] = Path("build/alignment"),
    bundle: Annotated[Path, typer.Option(help="The bundle that is being made.")] = Path("bundles/nano"),
    minutes: Annotated[float, typer.Option(help="Stop after so many minutes of training.")] = 6.0,
    count: Annotated[int, typer.Option(help="How many runs to learn from.")] = 2000,
    batch: Annotated[int, typer.Option(help="Runs per step.")] = 256,
    rate: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-3,
) -> None:
    """Train one output projection; the bundle is written by `motet.training.finish`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student, codec, control = load_student(bundle)
    student.load_state_dict(weights(build / "instruction"), strict=False)
    writer = Writer(codec, student.grammar, control)
    bank = Bank.filled_already(build.parent / "bank.safetensors")
    runs = Runs.of(student, writer, bank, modality, count)
    layer: nn.Module = student.projections.outputs[modality]

    def losses(generator: np.random.Generator) -> dict[str, Tensor]:
        chosen = torch.from_numpy(generator.integers(0, len(runs.states), batch))
        projected = layer(runs.states[chosen], runs.embedded[chosen])
        return {modality: distance(projected, runs.targets[chosen])}

    schedule = Schedule(steps=100_000, rate=rate, warmup=50, minutes=minutes, average=0.98, decay=0.0)
    Loop(layer, build / f"voicing-{modality}", schedule).run(losses)


if __name__ == "__main__":
    typer.run(main)
