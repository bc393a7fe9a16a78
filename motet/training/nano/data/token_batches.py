"""Dialogues as token ids, in batches.

Two readings of the same dialogues: in words only, from which the language model learns to talk before it has seen
or heard anything; and with media, where what was attached is a vector and what is asked for is a signal run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from motet.core.signals import Grammar
from motet.models.llm.tokenizer import Tokenizer
from motet.training.nano.dialogues.dialogues import Dialogue
from motet.training.nano.dialogues.requests import Given, Part, Sparing
from motet.training.nano.world.world import Thing

IGNORED = -100
_CLOSING = "\n###"


@dataclass(slots=True)
class TokenizedDialogue:
    """One dialogue as ids: `labels` are the ids to be learned, else -100.

    `seen` are the (position, thing) of attached media, `runs` the (position, thing) of the first tokens of runs,
    `spared` the (position, id) of ids that would not be wrong there.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    seen: list[tuple[int, Thing]] = field(default_factory=list)
    runs: list[tuple[int, Thing]] = field(default_factory=list)
    spared: list[tuple[int, int]] = field(default_factory=list)

    def write(self, ids: Sequence[int], spoken: bool) -> None:
        """Append ids, to be learned if the assistant speaks them."""
        self.ids += ids
        self.labels += ids if spoken else [IGNORED] * len(ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded to one length: `ids` and `labels` are (rows, length); places are (row, position, thing or id)."""

    ids: Tensor
    labels: Tensor
    seen: list[tuple[int, int, Thing]]
    runs: list[tuple[int, int, Thing]]
    spared: list[tuple[int, int, int]]


class DialogueTokenizer:
    """Writes dialogues down as ids.

    `grammar` None is the reading in words only. The first control id is <Img>, the next </Img>.
    """

    def __init__(self, codec: Tokenizer, grammar: Grammar | None = None, first_control: int = 0) -> None:
        self._codec, self._grammar, self._control = codec, grammar, first_control
        self._bos = len(codec)
        self._known: dict[str, list[int]] = {}

    def row(self, dialogue: Dialogue) -> TokenizedDialogue:
        """One dialogue, in the form that `motet.models.llm.chat_template.transcript` gives at serving time."""
        row = TokenizedDialogue()
        row.write([self._bos], spoken=False)
        for index, utterance in enumerate(dialogue):
            if utterance.role == "user":
                row.write(self._text("### Human:" if index == 0 else " Human:"), spoken=False)
                for part in utterance.parts:
                    self._heard(row, part)
                row.write(self._text("\n### Assistant:"), spoken=False)
            else:
                for place, part in enumerate(utterance.parts):
                    self._spoken(row, part, place == 0)
                row.write(self._text(_CLOSING), spoken=True)
        return row

    def _heard(self, row: TokenizedDialogue, part: Part) -> None:
        if isinstance(part, Given | Sparing):
            raise TypeError("only answers hold given words, and words that are spared")
        if isinstance(part, str):
            row.write(self._codec.encode(f" {part}"), spoken=False)
        elif self._grammar is None:
            row.write(self._text(f" ({part.caption})"), spoken=False)
        else:
            row.seen.append((len(row.ids) + 1, part))
            # The middle id only holds the vector's place.
            row.write([self._control, self._control, self._control + 1], spoken=False)

    def _spoken(self, row: TokenizedDialogue, part: Part, first: bool) -> None:
        if isinstance(part, str | Given):
            text = part if isinstance(part, str) else part.text
            row.write(self._text(f" {text}" if first else text), spoken=isinstance(part, str))
        elif isinstance(part, Sparing):
            text, *others = [f" {said}" if first else said for said in (part.text, *part.spared)]
            ids = self._text(text)
            for other in map(self._text, others):
                place = next(i for i, (one, another) in enumerate(zip(ids, other, strict=False)) if one != another)
                row.spared.append((len(row.ids) + place, other[place]))
            row.write(ids, spoken=True)
        elif self._grammar is not None:
            row.runs.append((len(row.ids), part))
            run = list(self._grammar.run_of(part.modality).ids)
            row.write(run, spoken=True)
            row.labels[-len(run) + 1 :] = self._meant(part, len(run) - 1)

    def _meant(self, thing: Thing, count: int) -> list[int]:
        """What the states inside a run learn to say instead of the run's next token: what it stands for.

        A run is always fed whole, so those states need not say how it goes on. Saying "dog" and "blue" by turns,
        they hold what the output projection has to find; without it that takes ten times as long to begin.
        """
        words = [self._text(f" {word}")[-1] for word in (thing.subject, thing.manner)]
        return [words[i % 2] for i in range(count)]

    def _text(self, text: str) -> list[int]:
        # Answers and turn marks are few and repeated; what people say is not, and is not kept.
        if text not in self._known:
            self._known[text] = self._codec.encode(text)
        return self._known[text]


def batch(
    make: Callable[[np.random.Generator], TokenizedDialogue], tokens: int, limit: int, generator: np.random.Generator
) -> Batch:
    """Rows of similar length, at most `tokens` ids together with their padding, none longer than `limit`.

    More rows are made than are used: of the sorted rows a window is taken, so that little is padding.
    """
    rows = sorted((make(generator) for _ in range(max(8, tokens // 48))), key=lambda row: len(row.ids))
    rows = [row for row in rows if len(row.ids) <= limit]
    # Weighted by length, so that a long row is as likely to be learned as a short one.
    lengths = np.array([len(row.ids) for row in rows], dtype=float)
    end = int(generator.choice(len(rows), p=lengths / lengths.sum())) + 1
    count = max(1, tokens // len(rows[end - 1].ids))
    chosen = rows[max(0, end - count) : max(end, min(count, len(rows)))]
    return padded(chosen[-max(1, tokens // len(chosen[-1].ids)) :])


def padded(rows: Sequence[TokenizedDialogue]) -> Batch:
    """Rows as one batch; the last must be the longest."""
    longest = len(rows[-1].ids)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        labels[i, : len(row.ids)] = torch.tensor(row.labels)
    seen = [(i, place, thing) for i, row in enumerate(rows) for place, thing in row.seen]
    runs = [(i, place, thing) for i, row in enumerate(rows) for place, thing in row.runs]
    spared = [(i, place, other) for i, row in enumerate(rows) for place, other in row.spared]
    return Batch(ids, labels, seen, runs, spared)
