"""What others notice of an answer that begins or ends, and what it notices of those before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing as closed
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
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
from services.benchmarks.load.conversations import endless, hear, prompt
from services.benchmarks.reports.report import Baseline, Figure, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_until

Load = Callable[[EngineConfig], LlamaLanguageModel]
"""Loads the language model with a budget."""

_CANCELLATIONS = 24
_RUNNING = 4
_SENTENCE = "I can see a dog on a blue background and hear a low note on a harp. "
_WHOLE = 1_000_000


def cancelling(model: LlamaLanguageModel, answers: int) -> list[Figure]:
    """How long after its end something is still left of one of so many answers, at worst."""
    with passes_of(model._voice.llama) as passes:
        seconds = [asyncio.run(_cancelled(model, answers, seed)) for seed in range(_CANCELLATIONS)]
    times = [begun for begun, _ in passes]
    step = median([after - before for before, after in pairwise(times)]) * 1e3
    return [
        Figure(f"a pass with {answers} answers", step, "ms"),
        Figure(
            f"cancel to nothing left, slowest of {_CANCELLATIONS}", max(seconds) * 1e3, "ms", bar=at_most(step + 50)
        ),
    ]


async def _cancelled(model: LlamaLanguageModel, answers: int, seed: int) -> float:
    streams = [model.generate(endless(i + seed), Deadline.never()) for i in range(answers)]
    for stream in streams:
        await anext(stream)
    taken = await seconds_until(close(streams[0]))
    await asyncio.gather(*map(close, streams[1:]))
    return taken


def reading(load: Load, rounds: int) -> list[Figure]:
    """What a long prompt does to those who are being answered, and to one who asks briefly just after it."""
    with (
        closed(load(EngineConfig(prefix_tokens=0))) as parts,
        closed(load(EngineConfig(prefix_tokens=0, pass_tokens=_WHOLE))) as whole,
    ):
        models = {"parts": parts, "whole": whole}
        for model in models.values():
            asyncio.run(_interrupted(model))
        times = alternating(rounds, {name: partial(_now, _interrupted, model) for name, model in models.items()})
    found = {name: [median(column) * 1e3 for column in zip(*each, strict=True)] for name, each in times.items()}
    tokens = len(parts._scriptwriter.write(_long(parts).turns, parts._voice.positions).ids)
    names = (
        f"longest silence of {_RUNNING} answers while {tokens} tokens are read",
        "first word to a short prompt that comes just after",
        "first word to the long prompt itself",
    )
    return [
        Figure(name, value, "ms", Baseline("read in one pass", at_once))
        for name, value, at_once in zip(names, found["parts"], found["whole"], strict=True)
    ]


async def _interrupted(model: LlamaLanguageModel) -> tuple[float, float, float]:
    """Seconds: the silence of those who were there, until the short one's first word, and until the long one's."""
    running = [asyncio.create_task(hear(model, endless(i, 60))) for i in range(_RUNNING)]
    await asyncio.sleep(0.05)
    begun = perf_counter()
    long = asyncio.create_task(hear(model, _long(model)))
    await asyncio.sleep(0)
    short = await hear(model, prompt("hello", 4))
    first = (await long).first
    heard = await asyncio.gather(*running)
    return max(each.silence(begun, begun + first) for each in heard), short.first, first


def sharing(load: Load, rounds: int) -> list[Figure]:
    """The third turn of a chat, whose first two were read before."""
    budgets = {"shared": EngineConfig(), "anew": EngineConfig(prefix_tokens=0)}
    chats = iter(range(10_000))
    with closed(load(budgets["shared"])) as shared, closed(load(budgets["anew"])) as anew:
        models = {"shared": shared, "anew": anew}
        times = alternating(
            rounds + 1,
            {name: partial(_now, lambda model: _third(model, next(chats)), model) for name, model in models.items()},
        )
        tokens = len(shared._scriptwriter.write(_chat(0, 3), shared._voice.positions).ids)
    found = {name: median(each[1:]) * 1e3 for name, each in times.items()}
    name = f"first word of a chat's third turn, {tokens} tokens"
    return [Figure(name, found["shared"], "ms", Baseline("nothing remembered", found["anew"]))]


async def _third(model: LlamaLanguageModel, chat: int) -> float:
    for turns in (1, 2):
        await hear(model, Prompt(_chat(chat, turns), {}, 4))
    return (await hear(model, Prompt(_chat(chat, 3), {}, 4))).first


def _chat(number: int, turns: int) -> tuple[Turn, ...]:
    said: list[Turn] = []
    for turn in range(turns):
        said += [Turn("user", (f"{number} {turn}. {_SENTENCE * 2}",)), Turn("assistant", (_SENTENCE * 2,))]
    return tuple(said[:-1])


def _now(work: Callable[[LlamaLanguageModel], Any], model: LlamaLanguageModel) -> Any:
    return asyncio.run(work(model))


def _long(model: LlamaLanguageModel) -> Prompt:
    """As long as the model reads, less what the answer takes."""
    sentence = len(model._voice.codec.encode(_SENTENCE))
    return prompt(_SENTENCE * ((model._voice.positions - 40) // sentence - 1), 4)


@contextmanager
def passes_of(llama: Llama) -> Iterator[list[tuple[float, Sequence[TokenRange]]]]:
    """Notes every pass: when it began, in seconds of `perf_counter`, and the places it feeds."""
    passes: list[tuple[float, Sequence[TokenRange]]] = []
    forward = llama.forward

    def noted(embedded: Tensor, places: Sequence[TokenRange], *rest: Any) -> Tensor:
        passes.append((perf_counter(), places))
        return forward(embedded, places, *rest)

    llama.forward = noted  # type: ignore[method-assign, assignment]
    try:
        yield passes
    finally:
        llama.forward = forward  # type: ignore[method-assign]
