"""Figures of `llm` about long prompts, shared prefixes and cancellation beside running responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing as closed
from contextlib import contextmanager
from functools import partial
from itertools import count, pairwise
from time import perf_counter
from typing import Any

from torch import Tensor

from motet.core.closing import close
from motet.core.deadline import Deadline
from motet.core.workers import Prompt, Turn
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel
from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.network import Llama
from services.benchmarks.load.conversations import long_prompt, prompt, trace_response
from services.benchmarks.reports.report import Baseline, Figure, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of

LoadLanguageModel = Callable[[EngineConfig], LlamaLanguageModel]
"""A function that loads the language model with a configuration of its engine."""

_CANCELLATIONS = 24
_RUNNING = 4
_SENTENCE = "I can see a dog on a blue background and hear a low note on a harp. "
_UNLIMITED_TOKENS = 1_000_000


def cancellation(model: LlamaLanguageModel, responses: int) -> list[Figure]:
    """Measure the slowest cancellation of one response beside running ones."""
    with recorded_forwards(model._context.llama) as forwards:
        seconds = [asyncio.run(_cancel(model, responses, seed)) for seed in range(_CANCELLATIONS)]
    starts = [start for start, _ in forwards]
    forward = median([after - before for before, after in pairwise(starts)]) * 1e3
    baseline = Baseline(f"forward with {responses} responses", forward)
    return [Figure(f"cancellation, slowest of {_CANCELLATIONS}", max(seconds) * 1e3, "ms", baseline, at_most(3))]


async def _cancel(model: LlamaLanguageModel, responses: int, seed: int) -> float:
    """Return the seconds until one of the running responses is closed."""
    streams = [model.generate(long_prompt(index + seed), Deadline.never()) for index in range(responses)]
    for stream in streams:
        await anext(stream)
    seconds = await seconds_of(lambda: close(streams[0]))
    await asyncio.gather(*map(close, streams[1:]))
    return seconds


def long_prefill(load: LoadLanguageModel, rounds: int) -> list[Figure]:
    """Compare a long prompt that is prefilled in chunks with one that is prefilled in one forward."""
    with (
        closed(load(EngineConfig(prefix_cache_tokens=0))) as chunked,
        closed(load(EngineConfig(prefix_cache_tokens=0, max_batched_tokens=_UNLIMITED_TOKENS))) as whole,
    ):
        candidates = {"chunked": partial(_interrupt, chunked), "whole": partial(_interrupt, whole)}
        samples = asyncio.run(alternating(rounds, candidates, warmup=1))
    medians = {name: [median(column) * 1e3 for column in zip(*each, strict=True)] for name, each in samples.items()}
    tokens = len(chunked._prompt_builder.build(_longest_prompt(chunked).turns, chunked._context.positions).ids)
    names = (
        f"longest gap in {_RUNNING} responses during a prefill of {tokens} tokens",
        "time to first token of a short prompt that arrives next",
        "time to first token of the long prompt",
    )
    return [
        Figure(name, value, "ms", Baseline("prefill in one forward", baseline))
        for name, value, baseline in zip(names, medians["chunked"], medians["whole"], strict=True)
    ]


async def _interrupt(model: LlamaLanguageModel) -> tuple[float, float, float]:
    """Send a long and a short prompt beside running responses.

    Return, in seconds, the longest gap of the running responses, and the times to first token of the short and the long
    prompt.
    """
    running = [asyncio.create_task(trace_response(model, long_prompt(seed, 60))) for seed in range(_RUNNING)]
    await asyncio.sleep(0.05)
    start = perf_counter()
    long = asyncio.create_task(trace_response(model, _longest_prompt(model)))
    await asyncio.sleep(0)
    short = await trace_response(model, prompt("hello", 4))
    first = (await long).first
    traces = await asyncio.gather(*running)
    return max(trace.longest_gap(start, start + first) for trace in traces), short.first, first


def prefix_cache(load: LoadLanguageModel, rounds: int) -> list[Figure]:
    """Compare the third turn of a chat with and without the prefix cache."""
    configs = {"cached": EngineConfig(), "uncached": EngineConfig(prefix_cache_tokens=0)}
    chats = count()
    with closed(load(configs["cached"])) as cached, closed(load(configs["uncached"])) as uncached:
        candidates = {
            "cached": partial(_third_turn, cached, chats),
            "uncached": partial(_third_turn, uncached, chats),
        }
        samples = asyncio.run(alternating(rounds, candidates, warmup=1))
        tokens = len(cached._prompt_builder.build(_chat(0, 3), cached._context.positions).ids)
    baseline = Baseline("no prefix cache", median(samples["uncached"]) * 1e3)
    name = f"time to first token of a chat's third turn, {tokens} tokens"
    return [Figure(name, median(samples["cached"]) * 1e3, "ms", baseline)]


async def _third_turn(model: LlamaLanguageModel, chats: Iterator[int]) -> float:
    """Return the seconds to the first token of the third turn of a new chat."""
    chat = next(chats)
    for turns in (1, 2):
        await trace_response(model, Prompt(_chat(chat, turns), {}, 4))
    return (await trace_response(model, Prompt(_chat(chat, 3), {}, 4))).first


def _chat(number: int, turns: int) -> tuple[Turn, ...]:
    messages: list[Turn] = []
    for turn in range(turns):
        messages += [Turn("user", (f"{number} {turn}. {_SENTENCE * 2}",)), Turn("assistant", (_SENTENCE * 2,))]
    return tuple(messages[:-1])


def _longest_prompt(model: LlamaLanguageModel) -> Prompt:
    """Return a prompt that fills the context of the model, except 40 positions for the response."""
    sentence = len(model._context.tokenizer.encode(_SENTENCE))
    return prompt(_SENTENCE * ((model._context.positions - 40) // sentence - 1), 4)


@contextmanager
def recorded_forwards(llama: Llama) -> Iterator[list[tuple[float, Sequence[TokenRange]]]]:
    """Record every forward: its start on the clock of `perf_counter`, in seconds, and its token ranges."""
    forwards: list[tuple[float, Sequence[TokenRange]]] = []
    forward = llama.forward

    def record(embedded: Tensor, ranges: Sequence[TokenRange], *rest: Any) -> Tensor:
        forwards.append((perf_counter(), ranges))
        return forward(embedded, ranges, *rest)

    llama.forward = record  # type: ignore[method-assign, assignment]
    try:
        yield forwards
    finally:
        llama.forward = forward  # type: ignore[method-assign]
