"""The benchmark `llm`: continuous batching against `generate` of transformers, and the engine's other mechanisms."""

from __future__ import annotations

import asyncio
from contextlib import closing as closed
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from motet.core.bundle import Bundle
from motet.core.workers import Prompt, Signal, SignalStarted
from motet.models.arrays import to_torch
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel, load_language_model
from motet.models.llm.layers.attention import TokenRange
from services.benchmarks.load.conversations import (
    QUESTIONS,
    ResponseTrace,
    long_prompt,
    prompt,
    trace_response,
    trace_responses,
)
from services.benchmarks.models.full_size import TINY, language_model_of, llama_of
from services.benchmarks.models.stock_libraries import load_transformers_llama
from services.benchmarks.peers.transformers_model import TransformersModel
from services.benchmarks.peers.vllm_process import VllmProcess, vllm_python
from services.benchmarks.peers.workload import Workload
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, seconds_of
from services.benchmarks.suite.interruptions import (
    LoadLanguageModel,
    cancellation,
    long_prefill,
    prefix_cache,
    recorded_forwards,
)
from services.factory import open_bundle

_TOKENS = 64
_MEAN_LENGTH, _MAX_LENGTH = 128, 384


def measure(
    bundle: str,
    answers: int,
    rounds: int,
    random: str,
    threads: int,
    beside: Literal["vllm"] | None = None,
    peer_python: Path | None = None,
) -> Report:
    """Measure `answers` simultaneous responses.

    `random`, as "LAYERSxWIDTH", uses random weights of that size instead of the bundle's; "" uses the bundle's.
    `beside` names a peer that generates the same responses in turns with Motet; `peer_python` is the interpreter of its
    environment. Raises `SettingsError` if the peer is not installed there.
    """
    python = vllm_python(peer_python) if beside else ""
    torch.set_num_threads(threads)
    opened = open_bundle(bundle, ())
    network = _random_network(opened, random) if random else load_transformers_llama(opened)
    load = _loader(opened, network if random else None)
    with closed(load(EngineConfig())) as model:
        baseline = TransformersModel(network, model._context.llama.eos_token_id)
        figures = [figure for waves in (1, 3) for figure in _throughput(model, baseline, waves, answers, rounds)]
        workload = _sampled_lengths(model, answers)
        figures += _against_static_batches(model, baseline, workload, rounds)
        if python:
            figures += _against_vllm(model, network, workload, rounds, python, threads)
        figures += _batch_differences(model, answers)
        if not random:
            figures += _signal_runs(model, opened, rounds)
        figures += cancellation(model, answers)
    figures += long_prefill(load, rounds) + prefix_cache(load, rounds)
    return Report(
        "llm",
        {
            "bundle": bundle,
            "answers": answers,
            "rounds": rounds,
            "random": random,
            "threads": threads,
            "beside": beside,
        },
        figures,
        [
            "All candidates have the same weights, prompts and numbers of tokens, and alternate. A static batch ends "
            "with its longest response. Only tokens that belong to a response count.",
            "`generate` is that of transformers, with its dynamic cache. It is greedy, or samples where tokens are "
            "sampled.",
            f"Sampled lengths are exponential with a mean of {_MEAN_LENGTH} and at most {_MAX_LENGTH}, as in "
            "Anyscale's comparison of continuous and static batching (2023), which also limited them.",
            "Cancellation is measured from closing the generator of one response, while the others run, until the "
            "engine has freed it.",
            "vLLM has compiled layers and the same float32 weights. Its threads are bound to processor cores. It "
            "ignores the end token, so that each response has the length that Motet's has.",
        ],
    )


def _loader(bundle: Bundle, network: LlamaForCausalLM | None) -> LoadLanguageModel:
    """Return a function that loads the bundle's language model, or one around another network."""
    if network is None:
        return lambda config: load_language_model(bundle, config)
    return lambda config: language_model_of(network, bundle, config)


def _random_network(bundle: Bundle, size: str) -> LlamaForCausalLM:
    """Return a network of LAYERSxWIDTH with random weights and the special tokens of the bundle."""
    layers, width = map(int, size.split("x"))
    entry = bundle.manifest.language_model
    special_tokens = LlamaConfig.from_pretrained(bundle.path(entry.path))
    sizes = {"hidden_size": width, "intermediate_size": width * 11 // 4, "num_hidden_layers": layers}
    models = replace(TINY, llama={**sizes, "num_attention_heads": width // 64})
    vocabulary = max(run.ids.stop for run in bundle.manifest.grammar.runs)
    torch.manual_seed(0)
    return llama_of(models, special_tokens, vocabulary, "cpu")


def _throughput(
    model: LlamaLanguageModel, baseline: TransformersModel, waves: int, answers: int, rounds: int
) -> list[Figure]:
    """Measure `waves` times `answers` responses, at most `answers` at a time. The next starts when one ends."""
    workload = Workload.of(model, _questions(answers) * waves, answers)
    rates = workload.rates(
        rounds,
        {
            "concurrent": partial(trace_responses, model, workload.prompts, answers),
            "sequential": partial(trace_responses, model, workload.prompts, 1),
            "generate": lambda: [baseline.generate([ids], length) for ids, length in workload.requests],
            "static": lambda: baseline.generate_batches(workload.requests, answers),
        },
    )
    return [
        Figure(workload.name, rates["concurrent"], "tokens/s", Baseline(name, rates[candidate]), bar)
        for name, candidate, bar in (
            ("generate, one by one", "generate", at_least(3)),
            ("generate, static batch", "static", at_least(1.3)),
            ("Motet, one by one", "sequential", None),
        )
    ]


def _sampled_lengths(model: LlamaLanguageModel, answers: int) -> Workload:
    """Return responses with lengths like those of real traffic. Tokens are sampled, so that the model reaches them."""
    rng = Random(0)
    lengths = [min(_MAX_LENGTH, 1 + round(rng.expovariate(1 / _MEAN_LENGTH))) for _ in range(3 * answers)]
    return Workload.of(model, list(map(long_prompt, range(len(lengths)), lengths)), answers)


def _against_static_batches(
    model: LlamaLanguageModel, baseline: TransformersModel, workload: Workload, rounds: int
) -> list[Figure]:
    answers = workload.concurrency
    rates = workload.rates(
        rounds,
        {
            "concurrent": partial(trace_responses, model, workload.prompts, answers),
            "static": lambda: baseline.generate_batches(workload.requests, answers, sample=True),
        },
    )
    static = Baseline("generate, static batch", rates["static"])
    return [Figure(f"{workload.name}, sampled", rates["concurrent"], "tokens/s", static, at_least(1.3))]


def _against_vllm(
    model: LlamaLanguageModel,
    network: LlamaForCausalLM,
    workload: Workload,
    rounds: int,
    python: str,
    threads: int,
) -> list[Figure]:
    answers = workload.concurrency
    requests = [(ids.tolist(), length) for ids, length in workload.requests]
    with TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        with VllmProcess(python, Path(folder), requests, answers, threads) as vllm:
            rates = workload.rates(
                rounds,
                {
                    "concurrent": partial(trace_responses, model, workload.prompts, answers),
                    "vllm": vllm.generate,
                },
            )
    bar = at_least(1.0 if answers == 8 else 0.9)
    baseline = Baseline("vLLM, compiled", rates["vllm"])
    return [Figure(f"{workload.name}, sampled", rates["concurrent"], "tokens/s", baseline, bar)]


def _batch_differences(model: LlamaLanguageModel, answers: int) -> list[Figure]:
    """Compare responses in a batch with the same responses alone."""
    ceilings = {run.modality: 2 for run in model._context.grammar.runs}
    prompts = [
        replace(question, ceilings=ceilings, temperature=0.5 * (index % 3))
        for index, question in enumerate(_questions(answers))
    ]
    alone = [asyncio.run(trace_response(model, request)) for request in prompts]
    batched = asyncio.run(trace_responses(model, prompts))
    pairs = list(zip(alone, batched, strict=True))
    different = sum(_without_conditioning(before) != _without_conditioning(after) for before, after in pairs)
    signals = [
        (before, after)
        for one, other in pairs
        for before, after in zip(one.events, other.events, strict=False)
        if isinstance(before, Signal) and isinstance(after, Signal)
    ]
    differences = [
        float((to_torch(before.conditioning) - to_torch(after.conditioning)).abs().max()) for before, after in signals
    ]
    return [
        Figure("responses with different tokens in a batch and alone", different, f"of {answers}", bar=at_most(0)),
        Figure(
            f"difference of the conditioning of {len(signals)} runs in a batch and alone",
            max(differences, default=0.0),
            "",
            bar=at_most(1e-4),
        ),
    ]


def _without_conditioning(trace: ResponseTrace) -> list[object]:
    return [event.modality if isinstance(event, Signal) else event for event in trace.events]


def _signal_runs(model: LlamaLanguageModel, bundle: Bundle, rounds: int) -> list[Figure]:
    """Measure the longest run of signal tokens: its forwards, and the time to its conditioning."""
    run = max(bundle.manifest.grammar.runs, key=lambda each: each.length)
    llama = model._context.llama
    request = prompt("Please show me a clip of a growing balloon.", 200, ceilings={run.modality: 1})
    with recorded_forwards(llama) as forwards:
        trace = asyncio.run(trace_response(model, request))
    if not any(isinstance(event, Signal) for event in trace.events):
        raise RuntimeError(f"the bundle generated no {run.modality}, so its run cannot be measured")
    prefill = len(model._prompt_builder.build(request.turns, model._context.positions).ids)
    decoded = [tokens.count for _, ranges in forwards for tokens in ranges if tokens.start >= prefill]
    cache = llama.cache(256)
    embedded = llama.embed(list(run.ids))

    def token_by_token() -> None:
        states = [
            llama.forward(embedded[index : index + 1], [TokenRange(0, 64 + index, 1)], cache, [0])
            for index in range(run.length)
        ]
        llama.conditioning(run.modality, torch.cat(states), embedded)

    def one_forward() -> None:
        states = llama.forward(embedded, [TokenRange(0, 64, run.length)], cache, range(run.length))
        llama.conditioning(run.modality, states, embedded)

    candidates = {"one": partial(seconds_of, one_forward), "many": partial(seconds_of, token_by_token)}
    samples = asyncio.run(alternating(3 * rounds, candidates))
    one, many = (median(samples[name]) * 1e3 for name in ("one", "many"))
    return [
        Figure(
            f"forwards for a run of {run.length} tokens",
            len(decoded) - (sum(decoded) - run.length),
            "",
            bar=at_most(1),
        ),
        Figure(f"a run of {run.length} tokens and its conditioning", one, "ms", Baseline("a forward a token", many)),
        Figure("from the first token of a run to its conditioning", _signal_seconds(trace) * 1e3, "ms"),
    ]


def _signal_seconds(trace: ResponseTrace) -> float:
    index = next(index for index, event in enumerate(trace.events) if isinstance(event, SignalStarted))
    return trace.times[index + 1] - trace.times[index]


def _questions(answers: int) -> list[Prompt]:
    return [
        prompt(QUESTIONS[index % len(QUESTIONS)], _TOKENS - 8 * (index % 5), seed=index) for index in range(answers)
    ]
