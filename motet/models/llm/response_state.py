"""One answer while it is written, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from motet.core.signals import Grammar, Run
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, TextPiece
from motet.models.arrays import from_torch
from motet.models.llm.detokenizer import Detokenizer
from motet.models.llm.network import Llama
from motet.models.llm.sampling import Sampler
from motet.models.llm.token_masks import TokenMasks
from motet.models.llm.tokenized_prompt import TokenizedPrompt
from motet.models.llm.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ModelContext:
    """What is the same for every answer of one model.

    `shapes` are those of the decoders' conditioning, by modality; `positions` bounds script and answer together.
    """

    llama: Llama
    codec: Tokenizer
    grammar: Grammar
    masks: TokenMasks
    shapes: Mapping[str, tuple[int, ...]]
    positions: int


@dataclass(slots=True)
class ResponseState:
    """Writes one answer, for whoever runs the network: `pending` is fed, then `take` is told what was sampled.

    Once the first token of a run is sampled the others are certain, so they are fed in one pass, after which `sung` is
    told what they mean: a run is never broken. Control tokens that may not come are `hidden` from sampling: marks of
    attached media, the middle of a run, and the beginning of a run that is not allowed, or that the tokens left have
    no room for.
    """

    voice: ModelContext
    script: TokenizedPrompt
    prompt: Prompt
    pending: Sequence[int] = ()
    """What must be fed before the next token can be sampled; nothing before the script was read."""
    run: Run | None = None
    """The run that is pending, or None where a single token is."""
    _written: int = 0
    _asked: dict[str, int] = field(default_factory=dict)
    _outlet: Detokenizer = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        prompt = self.prompt
        self._outlet = Detokenizer(self.voice.codec)
        self.sampler = Sampler(prompt.temperature, prompt.top_p, prompt.seed)

    @property
    def most(self) -> int:
        """How many tokens script and answer have at most."""
        return min(len(self.script.ids) + self.prompt.max_tokens, self.voice.positions)

    def hidden(self, vocabulary: int) -> torch.Tensor:
        """Which tokens may not come now, (vocabulary,)."""
        allowed = (
            run.modality
            for run in self.voice.grammar.runs
            if self._asked.get(run.modality, 0) < self.prompt.ceilings.get(run.modality, 0)
            and run.length <= self._left()
        )
        return self.voice.masks.hiding_all_but(frozenset(allowed), vocabulary)

    def take(self, token: int) -> list[LanguageEvent]:
        """What a sampled token brings; the last event of an answer is `Finished`, after which nothing is pending."""
        self.pending, self.run = (), None
        if token == self.voice.llama.end:
            return self._cut("stop")
        run = self.voice.grammar.run_holding(token)
        if run is not None:
            self.pending, self.run = run.ids, run
            self._written += run.length
            self._asked[run.modality] = self._asked.get(run.modality, 0) + 1
            return [*_pieces(self._outlet.flush()), SignalStarted(run.modality)]
        self._written += 1
        pieces = _pieces(self._outlet.feed(token))
        if self._outlet.stopped:
            return [*pieces, self._finished("stop")]
        if self._left() <= 0:
            return [*pieces, *self._cut("length")]
        self.pending = (token,)
        return pieces

    def sung(self, modality: str, conditioning: torch.Tensor) -> list[LanguageEvent]:
        """What a whole run brings: the decoder is told by all its tokens, the last one's state too."""
        signal = Signal(modality, from_torch(conditioning.reshape(self.voice.shapes[modality])))
        if self._left() > 0:
            return [signal]
        self.pending, self.run = (), None
        return [signal, self._finished("length")]

    def _left(self) -> int:
        """How many tokens may still be written."""
        return self.most - len(self.script.ids) - self._written

    def _cut(self, reason: Literal["stop", "length"]) -> list[LanguageEvent]:
        return [*_pieces(self._outlet.close()), self._finished(reason)]

    def _finished(self, reason: Literal["stop", "length"]) -> Finished:
        return Finished(reason, len(self.script.ids), self._written)


def _pieces(text: str) -> list[LanguageEvent]:
    return [TextPiece(text)] if text else []
