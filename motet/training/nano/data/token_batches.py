"""Dialogues as token ids, in batches.

A tokenizer without a grammar writes media as captions: these dialogues train the base language model, which has no
media. A tokenizer with a grammar writes an attached medium as one vector and a requested medium as a signal run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from motet.core.signals import Grammar
from motet.models.llm.tokenizer import Tokenizer
from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, DialoguePart, TextWithAlternatives
from motet.training.nano.world.world import Thing, held_out_neighbours

# The label of a token that the loss ignores.
IGNORED = -100
_CLOSING = "\n###"


@dataclass(slots=True)
class TokenizedDialogue:
    """One dialogue as token ids, with a label per token: the id to learn, or -100.

    `attachments` are the (position, thing) of attached media, and `runs` those of the first tokens of signal runs.
    `excluded` are the (position, id) of ids that the loss excludes from the softmax.
    """

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    attachments: list[tuple[int, Thing]] = field(default_factory=list)
    runs: list[tuple[int, Thing]] = field(default_factory=list)
    excluded: list[tuple[int, int]] = field(default_factory=list)

    def append(self, ids: Sequence[int], learned: bool) -> None:
        """Append token ids. If `learned`, the ids are also the labels."""
        self.ids += ids
        self.labels += ids if learned else [IGNORED] * len(ids)


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Sequences of one padded length: `ids` and `labels` are (sequences, length).

    `attachments`, `runs` and `excluded` are (sequence, position, thing or id), see `TokenizedDialogue`.
    """

    ids: Tensor
    labels: Tensor
    attachments: list[tuple[int, int, Thing]]
    runs: list[tuple[int, int, Thing]]
    excluded: list[tuple[int, int, int]]


class DialogueTokenizer:
    """A tokenizer of dialogues.

    Without a `grammar`, media are captions. The first control id is <Img>, the next </Img>.
    """

    def __init__(self, tokenizer: Tokenizer, grammar: Grammar | None = None, first_control: int = 0) -> None:
        self._tokenizer, self._grammar, self._control = tokenizer, grammar, first_control
        self._bos = len(tokenizer)
        self._cache: dict[str, list[int]] = {}

    def tokenize(self, dialogue: Dialogue) -> TokenizedDialogue:
        """Convert one dialogue, in the form of `motet.models.llm.chat_template.render_chat`."""
        sequence = TokenizedDialogue()
        sequence.append([self._bos], learned=False)
        for index, utterance in enumerate(dialogue):
            if utterance.role == "user":
                sequence.append(self._encode("### Human:" if index == 0 else " Human:"), learned=False)
                for part in utterance.parts:
                    self._append_user_part(sequence, part)
                sequence.append(self._encode("\n### Assistant:"), learned=False)
            else:
                for place, part in enumerate(utterance.parts):
                    self._append_assistant_part(sequence, part, place == 0)
                sequence.append(self._encode(_CLOSING), learned=True)
        return sequence

    def _append_user_part(self, sequence: TokenizedDialogue, part: DialoguePart) -> None:
        if isinstance(part, ContextText | TextWithAlternatives):
            raise TypeError(f"a user's utterance cannot hold {type(part).__name__}: use str")
        if isinstance(part, str):
            sequence.append(self._tokenizer.encode(f" {part}"), learned=False)
        elif self._grammar is None:
            sequence.append(self._encode(f" ({part.caption})"), learned=False)
        else:
            sequence.attachments.append((len(sequence.ids) + 1, part))
            # The id in the middle is a placeholder for the vector.
            sequence.append([self._control, self._control, self._control + 1], learned=False)

    def _append_assistant_part(self, sequence: TokenizedDialogue, part: DialoguePart, first: bool) -> None:
        if isinstance(part, str | ContextText):
            text = part if isinstance(part, str) else part.text
            sequence.append(self._encode(f" {text}" if first else text), learned=isinstance(part, str))
        elif isinstance(part, TextWithAlternatives):
            text, *others = [f" {each}" if first else each for each in (part.text, *part.alternatives)]
            ids = self._encode(text)
            for other in map(self._encode, others):
                place = next(i for i, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b)
                sequence.excluded.append((len(sequence.ids) + place, other[place]))
            sequence.append(ids, learned=True)
        elif self._grammar is not None:
            sequence.runs.append((len(sequence.ids), part))
            run = list(self._grammar.run_of(part.modality).ids)
            sequence.append(run, learned=True)
            start = len(sequence.ids) - len(run) + 1
            labels = self._labels_in_run(part, len(run) - 1)
            sequence.labels[start:] = labels
            for near in held_out_neighbours(part):
                pairs = zip(labels, self._labels_in_run(near, len(labels)), strict=True)
                sequence.excluded += [(start + place, no) for place, (label, no) in enumerate(pairs) if label != no]

    def _labels_in_run(self, thing: Thing, count: int) -> list[int]:
        """Return the labels of a run's other tokens: the subject and the manner, alternating.

        A run is always fed whole, so its hidden states need not predict the run's next token. States that predict
        "dog" and "blue" contain the information for the output projection. Without these labels the output projection
        starts to learn ten times later. The conditioning of an animation depends only on its motion.

        The loss excludes the labels of held-out things that share the other attribute. Otherwise the states learn that
        a red apple, which never moves left in the training, moves in another direction.
        """
        attributes = (thing.manner,) if thing.modality == "animation" else (thing.subject, thing.manner)
        words = [self._encode(f" {word}")[-1] for word in attributes]
        return [words[i % len(words)] for i in range(count)]

    def _encode(self, text: str) -> list[int]:
        # Answers and turn markers repeat, so their ids are cached. Texts of users are not.
        if text not in self._cache:
            self._cache[text] = self._tokenizer.encode(text)
        return self._cache[text]


def draw_batch(
    draw_sequence: Callable[[np.random.Generator], TokenizedDialogue],
    tokens: int,
    max_length: int,
    rng: np.random.Generator,
) -> TokenBatch:
    """Return sequences of similar length: at most `tokens` ids with padding, none longer than `max_length`.

    The function draws more sequences than it returns, sorts them by length, and returns a window of them. So there is
    little padding.
    """
    sequences = sorted((draw_sequence(rng) for _ in range(max(8, tokens // 48))), key=lambda each: len(each.ids))
    sequences = [sequence for sequence in sequences if len(sequence.ids) <= max_length]
    # Weighted by length, because a window of long sequences holds fewer of them.
    lengths = np.array([len(sequence.ids) for sequence in sequences], dtype=float)
    end = int(rng.choice(len(sequences), p=lengths / lengths.sum())) + 1
    count = max(1, tokens // len(sequences[end - 1].ids))
    window = sequences[max(0, end - count) : max(end, min(count, len(sequences)))]
    return pad(window[-max(1, tokens // len(window[-1].ids)) :])


def pad(sequences: Sequence[TokenizedDialogue]) -> TokenBatch:
    """Return sequences as one batch. The last sequence must be the longest."""
    longest = len(sequences[-1].ids)
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    labels = torch.full((len(sequences), longest), IGNORED)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence.ids)] = torch.tensor(sequence.ids)
        labels[i, : len(sequence.ids)] = torch.tensor(sequence.labels)
    attachments = [(i, place, thing) for i, each in enumerate(sequences) for place, thing in each.attachments]
    runs = [(i, place, thing) for i, each in enumerate(sequences) for place, thing in each.runs]
    excluded = [(i, place, token) for i, each in enumerate(sequences) for place, token in each.excluded]
    return TokenBatch(ids, labels, attachments, runs, excluded)
