"""One answer while it is written, token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers import DynamicCache

from motet.core.signals import Grammar, Run
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, TextPiece
from motet.models.arrays import from_torch
from motet.models.codec import TextCodec
from motet.models.llama import Forward, Llama
from motet.models.outlet import Outlet
from motet.models.sampling import Sampler
from motet.models.script import Script


@dataclass(frozen=True, slots=True)
class Voice:
    """What is the same for every answer of one model.

    `shapes` are those of the decoders' conditioning, by modality; `positions` bounds script and answer together.
    """

    llama: Llama
    codec: TextCodec
    grammar: Grammar
    first_control: int
    shapes: Mapping[str, tuple[int, ...]]
    positions: int


@dataclass(slots=True)
class Writing:
    """Writes one answer. Each `step` takes one pass through the network and says what came of it.

    Once the first token of a run is sampled the others are certain, so they are fed in one pass: a run is never
    broken. Control tokens that may not come are never sampled: marks of attached media, the middle of a run, and
    the beginning of a run that is not allowed, or that the tokens left have no room for.
    """

    voice: Voice
    script: Script
    prompt: Prompt
    _cache: DynamicCache = field(default_factory=DynamicCache)
    _written: int = 0
    _last: Forward | None = None
    _fed: list[int] = field(default_factory=list)
    _run: Run | None = None
    _asked: dict[str, int] = field(default_factory=dict)
    _outlet: Outlet = field(init=False)
    _sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        prompt = self.prompt
        self._outlet = Outlet(self.voice.codec)
        self._sampler = Sampler(prompt.temperature, prompt.top_p, prompt.seed)

    def step(self) -> list[LanguageEvent]:
        """What one more pass brings; the last event of an answer is `Finished`. Must not be called after it."""
        if self._run is not None:
            return self._sing(self._run)
        if self._last is None:
            self._last = self.voice.llama.read(self.script, self._cache)
        elif self._fed:
            self._last = self.voice.llama.feed(self._fed, self._cache)
            self._fed = []
        if self._left() <= 0:
            return [*_pieces(self._outlet.close()), self._finish("length")]
        return self._sample(self._last)

    def _sample(self, last: Forward) -> list[LanguageEvent]:
        token = self._sampler.choose(last.logits, self._forbidden(len(last.logits)))
        if token == self.voice.llama.end:
            return [*_pieces(self._outlet.close()), self._finish("stop")]
        run = self.voice.grammar.run_holding(token)
        if run is not None:
            self._run = run
            return [*_pieces(self._outlet.flush()), SignalStarted(run.modality)]
        self._written += 1
        self._fed = [token]
        pieces = _pieces(self._outlet.feed(token))
        return [*pieces, self._finish("stop")] if self._outlet.stopped else pieces

    def _sing(self, run: Run) -> list[LanguageEvent]:
        """Feeds a whole run, the last token too: its state is part of what the decoder is told."""
        modality = run.modality
        self._run = None
        self._asked[modality] = self._asked.get(modality, 0) + 1
        self._written += run.length
        self._last = self.voice.llama.feed(list(run.ids), self._cache)
        conditioning = self.voice.llama.conditioning(modality, self._last)
        return [Signal(modality, from_torch(conditioning.reshape(self.voice.shapes[modality])))]

    def _forbidden(self, vocabulary: int) -> torch.Tensor:
        """Which tokens may not come now, (vocabulary,)."""
        forbidden = torch.zeros(vocabulary, dtype=torch.bool)
        forbidden[self.voice.first_control :] = True
        forbidden[self.voice.llama.beginning] = True
        for run in self.voice.grammar.runs:
            ceiling = self.prompt.ceilings.get(run.modality, 0)
            if self._asked.get(run.modality, 0) < ceiling and run.length <= self._left():
                forbidden[run.first] = False
        return forbidden

    def _left(self) -> int:
        """How many tokens may still be written."""
        room = self.voice.positions - len(self.script.ids)
        return min(self.prompt.max_tokens, room) - self._written

    def _finish(self, reason: Literal["stop", "length"]) -> Finished:
        return Finished(reason, len(self.script.ids), self._written)


def _pieces(text: str) -> list[LanguageEvent]:
    return [TextPiece(text)] if text else []
