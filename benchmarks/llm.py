"""What the language model's engine gains: against transformers' own `generate`, and against itself without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing as closed
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.conversations import QUESTIONS, Heard, hear, hear_all, prompt
from benchmarks.full_size import TINY, language_model_of, llama_of
from benchmarks.interruptions import Load, cancelling, passes_of, reading, sharing
from benchmarks.report import Baseline, Figure, Report, at_least, at_most
from benchmarks.samples import alternating, median
from motet.core.bundle import Bundle
from motet.core.workers import Prompt, Signal, SignalStarted
from motet.models.arrays import to_torch
from motet.models.attention import Place
from motet.models.budget import Budget
from motet.models.llama import load_network
from motet.models.llm import LlamaLanguageModel, load_language_model
from services.factory import open_bundle

_TOKENS = 64


def measure(bundle: str = "nano", answers: int = 8, rounds: int = 3, random: str = "", threads: int = 1) -> Report:
    """So many answers at once. `random`, "LAYERSxWIDTH", takes random weights of that size instead of the bundle's."""
    torch.set_num_threads(threads)
    opened = open_bundle(bundle, ())
    network = _random(opened, random) if random else load_network(opened)
    load = _loader(opened, network if random else None)
    with closed(load(Budget())) as model:
        stock = _Stock(network, model._voice.llama.end)
        figures = [figure for waves in (1, 3) for figure in _throughput(model, stock, waves, answers, rounds)]
        figures += _influence(model, answers)
        if not random:
            figures += _runs(model, opened, rounds)
        figures += cancelling(model, answers)
    figures += reading(load, rounds) + sharing(load, rounds)
    return Report(
        "llm",
        {"bundle": bundle, "answers": answers, "rounds": rounds, "random": random, "threads": threads},
        figures,
        [
            "All candidates have the same weights, prompts and numbers of tokens, and take turns. A static batch goes "
            "on until its longest answer is done; only tokens that belong to an answer are counted.",
            "`generate` is transformers' own, greedy, with its dynamic cache.",
            "Cancelling is measured from closing one answer's generator, while the others go on, until nothing is "
            "left of it; the bar is one pass and 50 ms.",
        ],
    )


def _loader(bundle: Bundle, network: LlamaForCausalLM | None) -> Load:
    """Loads the bundle's own language model, or one around another network."""
    if network is None:
        return lambda budget: load_language_model(bundle, budget)
    return lambda budget: language_model_of(network, bundle, budget)


def _random(bundle: Bundle, size: str) -> LlamaForCausalLM:
    """A network of LAYERSxWIDTH with random weights, and the bundle's words."""
    layers, width = map(int, size.split("x"))
    entry = bundle.manifest.language_model
    words = LlamaConfig.from_pretrained(bundle.path(entry.path))
    sizes = {"hidden_size": width, "intermediate_size": width * 11 // 4, "num_hidden_layers": layers}
    scale = replace(TINY, llama={**sizes, "num_attention_heads": width // 64})
    vocabulary = max(run.ids.stop for run in bundle.manifest.grammar.runs)
    torch.manual_seed(0)
    return llama_of(scale, words, vocabulary, "cpu")


def _throughput(model: LlamaLanguageModel, stock: _Stock, waves: int, answers: int, rounds: int) -> list[Figure]:
    """So many answers at a time, of so many times as many: the next begins when one is done, as servers are asked."""
    prompts = _questions(answers) * waves
    lengths = [heard.tokens for heard in asyncio.run(hear_all(model, prompts, answers))]
    scripts = [model._scriptwriter.write(asked.turns, model._voice.positions - 1).ids for asked in prompts]
    total = sum(lengths)
    batches = [slice(first, first + answers) for first in range(0, len(prompts), answers)]
    rates = alternating(
        rounds + 1,
        {
            "together": lambda: total / _seconds(lambda: asyncio.run(hear_all(model, prompts, answers))),
            "in turn": lambda: total / _seconds(lambda: asyncio.run(hear_all(model, prompts, 1))),
            "generate": lambda: total / _seconds(lambda: list(map(stock.write, _apart(scripts), lengths))),
            "static": lambda: total / _seconds(lambda: [stock.write(scripts[b], max(lengths[b])) for b in batches]),
        },
    )
    rate = {name: median(found[1:]) for name, found in rates.items()}  # the first round warms up
    rest = f", of {len(prompts)}" if waves > 1 else ""
    name = f"{answers} answers at a time{rest}, of {min(lengths)} to {max(lengths)} tokens"
    return [
        Figure(name, rate["together"], "tokens/s", Baseline("generate, one by one", rate["generate"]), at_least(3)),
        Figure(name, rate["together"], "tokens/s", Baseline("generate, static batch", rate["static"]), at_least(1.3)),
        Figure(name, rate["together"], "tokens/s", Baseline("Motet, one by one", rate["in turn"])),
    ]


def _apart(scripts: Sequence[torch.Tensor]) -> list[Sequence[torch.Tensor]]:
    return [[script] for script in scripts]


class _Stock:
    """The same network as transformers runs it."""

    def __init__(self, network: LlamaForCausalLM, end: int) -> None:
        self._model: Any = network.eval()
        self._end = end

    @torch.inference_mode()
    def write(self, scripts: Sequence[torch.Tensor], tokens: int) -> None:
        """A batch, padded at the left as `generate` wants it."""
        longest = max(map(len, scripts))
        ids = torch.stack([torch.cat([ids.new_full((longest - len(ids),), self._end), ids]) for ids in scripts])
        known = torch.stack([torch.arange(longest) >= longest - len(ids) for ids in scripts]).long()
        self._model.generate(
            ids,
            attention_mask=known,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=self._end,
        )


def _influence(model: LlamaLanguageModel, answers: int) -> list[Figure]:
    """What changes in answers when others are written beside them."""
    ceilings = {run.modality: 2 for run in model._voice.grammar.runs}
    prompts = [
        replace(asked, ceilings=ceilings, temperature=0.5 * (i % 3)) for i, asked in enumerate(_questions(answers))
    ]
    alone = [asyncio.run(hear(model, asked)) for asked in prompts]
    together = asyncio.run(hear_all(model, prompts))
    other = sum(_said(one) != _said(same) for one, same in zip(alone, together, strict=True))
    signals = [
        (one, same)
        for before, after in zip(alone, together, strict=True)
        for one, same in zip(before.events, after.events, strict=False)
        if isinstance(one, Signal) and isinstance(same, Signal)
    ]
    differences = [
        float((to_torch(one.conditioning) - to_torch(same.conditioning)).abs().max()) for one, same in signals
    ]
    return [
        Figure("answers whose tokens depend on their neighbours", other, f"of {answers}", bar=at_most(0)),
        Figure(
            f"neighbours' influence on the conditioning of {len(signals)} runs",
            max(differences, default=0.0),
            "",
            bar=at_most(1e-4),
        ),
    ]


def _said(heard: Heard) -> list[object]:
    return [event.modality if isinstance(event, Signal) else event for event in heard.events]


def _runs(model: LlamaLanguageModel, bundle: Bundle, rounds: int) -> list[Figure]:
    """The longest run of signal tokens: in one pass, and from its first token to what a decoder is told."""
    run = max(bundle.manifest.grammar.runs, key=lambda each: each.length)
    llama = model._voice.llama
    asked = prompt("Please show me a clip of a growing balloon.", 200, ceilings={run.modality: 1})
    with passes_of(llama) as passes:
        heard = asyncio.run(hear(model, asked))
    if not any(isinstance(event, Signal) for event in heard.events):
        raise RuntimeError(f"the bundle asked for no {run.modality}, so its run cannot be measured")
    read = len(model._scriptwriter.write(asked.turns, model._voice.positions).ids)
    written = [place.count for _, places in passes for place in places if place.start >= read]
    cache = llama.cache(256)
    embedded = llama.embed(list(run.ids))

    def stepwise() -> float:
        states = [llama.forward(embedded[i : i + 1], [Place(0, 64 + i, 1)], cache, [0]) for i in range(run.length)]
        llama.conditioning(run.modality, torch.cat(states), embedded)
        return 0.0

    def at_once() -> float:
        states = llama.forward(embedded, [Place(0, 64, run.length)], cache, range(run.length))
        llama.conditioning(run.modality, states, embedded)
        return 0.0

    times = alternating(3 * rounds, {"once": lambda: _seconds(at_once), "steps": lambda: _seconds(stepwise)})
    once, steps = (median(times[name]) * 1e3 for name in ("once", "steps"))
    return [
        Figure(
            f"passes for a run of {run.length} tokens", len(written) - (sum(written) - run.length), "", bar=at_most(1)
        ),
        Figure(f"a run of {run.length} tokens and its conditioning", once, "ms", Baseline("a token a pass", steps)),
        Figure("from a run's first token told to its conditioning told", _told_in(heard) * 1e3, "ms"),
    ]


def _told_in(heard: Heard) -> float:
    index = next(i for i, event in enumerate(heard.events) if isinstance(event, SignalStarted))
    return heard.times[index + 1] - heard.times[index]


def _questions(answers: int) -> list[Prompt]:
    return [prompt(QUESTIONS[i % len(QUESTIONS)], _TOKENS - 8 * (i % 5), seed=i) for i in range(answers)]


def _seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun
