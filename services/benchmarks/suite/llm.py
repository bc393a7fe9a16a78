"""What the language model's engine gains: against transformers' own `generate`, and against itself without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing as closed
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from motet.core.bundle import Bundle
from motet.core.workers import Prompt, Signal, SignalStarted
from motet.models.arrays import to_torch
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.loading import load_transformers_llama
from services.benchmarks.load.conversations import QUESTIONS, Heard, endless, hear, hear_all, prompt
from services.benchmarks.models.full_size import TINY, language_model_of, llama_of
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of
from services.benchmarks.suite.interruptions import Load, cancelling, passes_of, reading, sharing
from services.factory import open_bundle

_TOKENS = 64
_MEAN, _MOST = 128, 384


def measure(bundle: str = "nano", answers: int = 8, rounds: int = 3, random: str = "", threads: int = 1) -> Report:
    """So many answers at once. `random`, "LAYERSxWIDTH", takes random weights of that size instead of the bundle's."""
    torch.set_num_threads(threads)
    opened = open_bundle(bundle, ())
    network = _random(opened, random) if random else load_transformers_llama(opened)
    load = _loader(opened, network if random else None)
    with closed(load(EngineConfig())) as model:
        stock = _Stock(network, model._voice.llama.end)
        figures = [figure for waves in (1, 3) for figure in _throughput(model, stock, waves, answers, rounds)]
        figures += _mixed(model, stock, answers, rounds)
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
            "`generate` is transformers' own, with its dynamic cache: greedy, and sampling where tokens are drawn.",
            f"Drawn lengths are exponential with a mean of {_MEAN} and at most {_MOST}: as in Anyscale's "
            "comparison of continuous with static batching (2023), which cut them where the context ended, too.",
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
    asked = _Asked.of(model, _questions(answers) * waves, answers)
    rates = asked.rates(
        rounds,
        {
            "together": lambda: asyncio.run(hear_all(model, asked.prompts, answers)),
            "in turn": lambda: asyncio.run(hear_all(model, asked.prompts, 1)),
            "generate": lambda: [stock.write([script], length) for script, length in asked.written],
            "static": lambda: stock.write_all(asked.written, answers),
        },
    )
    return [
        Figure(asked.name, rates["together"], "tokens/s", Baseline(name, rates[candidate]), bar)
        for name, candidate, bar in (
            ("generate, one by one", "generate", at_least(3)),
            ("generate, static batch", "static", at_least(1.3)),
            ("Motet, one by one", "in turn", None),
        )
    ]


def _mixed(model: LlamaLanguageModel, stock: _Stock, answers: int, rounds: int) -> list[Figure]:
    """Lengths that vary as real ones do. They are drawn, and so are the tokens, as the model would end sooner."""
    lengths = Random(0)
    drawn = [min(_MOST, 1 + round(lengths.expovariate(1 / _MEAN))) for _ in range(3 * answers)]
    asked = _Asked.of(model, list(map(endless, range(len(drawn)), drawn)), answers)
    rates = asked.rates(
        rounds,
        {
            "together": lambda: asyncio.run(hear_all(model, asked.prompts, answers)),
            "static": lambda: stock.write_all(asked.written, answers, draw=True),
        },
    )
    static = Baseline("generate, static batch", rates["static"])
    return [Figure(f"{asked.name}, drawn", rates["together"], "tokens/s", static, at_least(1.3))]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Prompts that are answered so many at a time; `written` are their scripts, and how long the answers are."""

    prompts: Sequence[Prompt]
    at_a_time: int
    written: Sequence[tuple[torch.Tensor, int]]

    @classmethod
    def of(cls, model: LlamaLanguageModel, prompts: Sequence[Prompt], at_a_time: int) -> _Asked:
        heard = asyncio.run(hear_all(model, prompts, at_a_time))
        scripts = [model._scriptwriter.write(asked.turns, model._voice.positions - 1).ids for asked in prompts]
        return cls(prompts, at_a_time, list(zip(scripts, [each.tokens for each in heard], strict=True)))

    @property
    def name(self) -> str:
        lengths = [length for _, length in self.written]
        rest = f", of {len(lengths)}" if len(lengths) > self.at_a_time else ""
        return f"{self.at_a_time} answers at a time{rest}, of {min(lengths)} to {max(lengths)} tokens"

    def rates(self, rounds: int, candidates: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Tokens a second by candidate."""
        total = sum(length for _, length in self.written)
        timed = {name: lambda work=work: total / seconds_of(work) for name, work in candidates.items()}
        found = alternating(rounds + 1, timed)
        return {name: median(rates[1:]) for name, rates in found.items()}  # the first round warms up


class _Stock:
    """The same network as transformers runs it."""

    def __init__(self, network: LlamaForCausalLM, end: int) -> None:
        self._model: Any = network.eval()
        self._model.generation_config.eos_token_id = None  # it writes as much as it is told to
        self._end = end

    def write_all(self, written: Sequence[tuple[torch.Tensor, int]], size: int, draw: bool = False) -> None:
        """Batches of so many, one after another; each goes on until its longest is done."""
        for first in range(0, len(written), size):
            scripts, lengths = zip(*written[first : first + size], strict=True)
            self.write(scripts, max(lengths), draw)

    @torch.inference_mode()
    def write(self, scripts: Sequence[torch.Tensor], tokens: int, draw: bool = False) -> None:
        """A batch, padded at the left as `generate` wants it; the likeliest tokens, or drawn ones."""
        longest = max(map(len, scripts))
        ids = torch.stack([torch.cat([ids.new_full((longest - len(ids),), self._end), ids]) for ids in scripts])
        known = torch.stack([torch.arange(longest) >= longest - len(ids) for ids in scripts]).long()
        self._model.generate(
            ids,
            attention_mask=known,
            max_new_tokens=tokens,
            do_sample=draw,
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
        states = [llama.forward(embedded[i : i + 1], [TokenRange(0, 64 + i, 1)], cache, [0]) for i in range(run.length)]
        llama.conditioning(run.modality, torch.cat(states), embedded)
        return 0.0

    def at_once() -> float:
        states = llama.forward(embedded, [TokenRange(0, 64, run.length)], cache, range(run.length))
        llama.conditioning(run.modality, states, embedded)
        return 0.0

    times = alternating(3 * rounds, {"once": lambda: seconds_of(at_once), "steps": lambda: seconds_of(stepwise)})
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
