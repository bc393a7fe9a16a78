"""Responses of given lengths, which several language models generate in turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from motet.core.signals import Grammar
from motet.core.workers import Prompt, SignalSuppressed
from motet.models.llm.language_model import LlamaLanguageModel
from services.benchmarks.load.conversations import ResponseTrace, trace_responses
from services.benchmarks.reports.statistics import alternating, median, seconds_of


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts, and the maximum number of simultaneous responses.

    `requests` are the token ids of each prompt and the number of tokens of its response. A suppressed signal run
    counts as one token, because it takes one forward.
    """

    prompts: Sequence[Prompt]
    concurrency: int
    requests: Sequence[tuple[torch.Tensor, int]]

    @classmethod
    def of(cls, model: LlamaLanguageModel, prompts: Sequence[Prompt], concurrency: int) -> Workload:
        """Return the workload of the responses that the model gives to the prompts."""
        traces = asyncio.run(trace_responses(model, prompts, concurrency))
        ids = [model._prompt_builder.build(request.turns, model._context.positions - 1).ids for request in prompts]
        lengths = [_text_length(trace, model._context.grammar) for trace in traces]
        return cls(prompts, concurrency, list(zip(ids, lengths, strict=True)))

    @property
    def name(self) -> str:
        """The name of its figures."""
        lengths = [length for _, length in self.requests]
        total = f", of {len(lengths)}" if len(lengths) > self.concurrency else ""
        return f"{self.concurrency} responses at a time{total}, of {min(lengths)} to {max(lengths)} tokens"

    def rates(self, rounds: int, candidates: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Return the tokens a second of each candidate, a function or a coroutine function."""
        total = sum(length for _, length in self.requests)

        async def rate(candidate: Callable[[], object]) -> float:
            return total / await seconds_of(candidate)

        timed = {name: partial(rate, candidate) for name, candidate in candidates.items()}
        samples = asyncio.run(alternating(rounds, timed, warmup=1))
        return {name: median(rates) for name, rates in samples.items()}


def _text_length(trace: ResponseTrace, grammar: Grammar) -> int:
    runs = (e.modality for e in trace.events if isinstance(e, SignalSuppressed) and e.limit == "ceiling")
    return trace.tokens - sum(grammar.run_of(modality).length - 1 for modality in runs)
