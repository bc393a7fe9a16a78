"""The state of one response during its generation, token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from motet.core.signals import Grammar, Run
from motet.core.workers import Finished, LanguageEvent, Prompt, Signal, SignalStarted, SignalSuppressed, TextPiece
from motet.models.arrays import from_torch
from motet.models.llm.detokenizer import Detokenizer
from motet.models.llm.network import Llama
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.models.llm.sampling import Sampler
from motet.models.llm.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ModelContext:
    """The objects that all responses of one model share.

    `token_mask`, (vocabulary,), is true for each token that must not be sampled. `shapes` are the shapes of the
    decoders' conditioning, by modality. `positions` is the maximum number of tokens of prompt and response together.
    """

    llama: Llama
    tokenizer: Tokenizer
    grammar: Grammar
    token_mask: torch.Tensor
    shapes: Mapping[str, tuple[int, ...]]
    positions: int


@dataclass(slots=True)
class ResponseState:
    """The state of one response. The engine feeds `pending` to the network and passes the sampled token to `accept`.

    After the first token of a signal run, all other tokens of the run are known. They are fed in one forward, after
    which the engine calls `finish_run`. So a run is never broken.

    The model decides which media it requests, and the prompt's limits apply after that. A run beyond its modality's
    ceiling is fed like any other, but has no conditioning. So the text that follows is the same as without the ceiling.
    A run that exceeds the remaining tokens ends the response.
    """

    context: ModelContext
    prompt_tokens: TokenizedPrompt
    prompt: Prompt
    pending: Sequence[int] = ()
    """The tokens to feed before the next token can be sampled. Empty until the prompt is prefilled."""
    run: Run | None = None
    """The signal run in `pending` whose conditioning is needed, or None."""
    sampler: Sampler = field(init=False)
    _output_tokens: int = 0
    _signals: dict[str, int] = field(default_factory=dict)
    """Number of signal runs so far, by modality."""
    _detokenizer: Detokenizer = field(init=False)

    def __post_init__(self) -> None:
        prompt = self.prompt
        self._detokenizer = Detokenizer(self.context.tokenizer)
        self.sampler = Sampler(prompt.temperature, prompt.top_p, prompt.seed)

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens of prompt and response together."""
        return min(len(self.prompt_tokens) + self.prompt.max_tokens, self.context.positions)

    def accept(self, token: int) -> list[LanguageEvent]:
        """Add a sampled token. Return its events. If the last event is `Finished`, nothing is pending."""
        self.pending, self.run = (), None
        if token == self.context.llama.eos_token_id:
            return self._finish("stop")
        run = self.context.grammar.run_containing(token)
        if run is not None:
            return [*_text_events(self._detokenizer.flush()), *self._start_run(run)]
        self._output_tokens += 1
        events = _text_events(self._detokenizer.feed(token))
        if self._detokenizer.stopped:
            return [*events, self._finished("stop")]
        if self._remaining() <= 0:
            return [*events, *self._finish("length")]
        self.pending = (token,)
        return events

    def _start_run(self, run: Run) -> list[LanguageEvent]:
        count = self._signals.get(run.modality, 0)
        permitted = count < self.prompt.ceilings.get(run.modality, 0)
        if run.length > self._remaining():
            return [SignalSuppressed(run.modality, "length" if permitted else "ceiling"), self._finished("length")]
        self._output_tokens += run.length
        if permitted:
            self._signals[run.modality] = count + 1
            self.pending, self.run = run.ids, run
            return [SignalStarted(run.modality)]
        suppressed = SignalSuppressed(run.modality, "ceiling")
        if self._remaining() == 0:
            return [suppressed, self._finished("length")]
        self.pending = run.ids
        return [suppressed]

    def finish_run(self, modality: str, conditioning: torch.Tensor) -> list[LanguageEvent]:
        """Add the conditioning of the pending run. Return its events.

        The conditioning depends on the states of all tokens of the run, including the last one.
        """
        signal = Signal(modality, from_torch(conditioning.reshape(self.context.shapes[modality])))
        if self._remaining() > 0:
            return [signal]
        self.pending, self.run = (), None
        return [signal, self._finished("length")]

    def _remaining(self) -> int:
        """Return the number of tokens that the response may still have."""
        return self.max_tokens - len(self.prompt_tokens) - self._output_tokens

    def _finish(self, reason: Literal["stop", "length"]) -> list[LanguageEvent]:
        return [*_text_events(self._detokenizer.close()), self._finished(reason)]

    def _finished(self, reason: Literal["stop", "length"]) -> Finished:
        return Finished(reason, len(self.prompt_tokens), self._output_tokens, self.prompt_tokens.omitted_turns)


def _text_events(text: str) -> list[LanguageEvent]:
    return [TextPiece(text)] if text else []
