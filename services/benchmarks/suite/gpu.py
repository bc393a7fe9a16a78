"""The benchmark `gpu`: full-size models against the stock libraries and the limits of the hardware."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from motet.core.bundle import Bundle
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import SettingsError
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Finished, LanguageModel, Prompt, Turn
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.llm.config import EngineConfig
from services.benchmarks.models import stock_libraries
from services.benchmarks.models.full_size import (
    CLIP,
    FULL,
    PICTURE,
    SOUND,
    TINY,
    ModelSizes,
    decoder_of,
    diffusion_model_of,
    language_model_of,
    llama_of,
)
from services.benchmarks.reports.report import Baseline, Figure, Report
from services.benchmarks.reports.statistics import alternating, median
from services.factory import open_bundle

_VOCABULARY = 32038
_PROMPT = "Tell me all you know about penguins, and take your time."
_BATCH_TOLERANCE = 0.1
"""Maximum difference of the network's output in a batch. With 0, the default, a GPU could share almost no step."""
_UNITS = {PICTURE: "pictures/s", SOUND: "sounds/s", CLIP: "clips/s"}


def measure(
    sizes: Sequence[int], rounds: int, smoke: bool, modalities: Sequence[str] = (PICTURE, SOUND, CLIP)
) -> Report:
    """Measure tokens and media a second at each number of simultaneous calls.

    `smoke` runs tiny models on a CPU. Raises `SettingsError` without CUDA and without `smoke`.
    """
    if not smoke and not torch.cuda.is_available():
        raise SettingsError(
            "torch finds no GPU: this benchmark needs CUDA and a torch built for it; --smoke runs tiny models on a CPU"
        )
    models, device = (TINY, "cpu") if smoke else (FULL, "cuda")
    limits = HardwareLimits.measured(device, 256 if smoke else 8192)
    figures = [
        Figure("matrix product, limit of the hardware", limits.flops / 1e12, "Tflop/s"),
        Figure("memory copy, limit of the hardware", limits.bytes / 1e9, "GB/s"),
    ]
    figures += _measure_text(open_bundle("nano", ()), models, device, limits, sizes, rounds)
    for modality in modalities:
        _free_memory(device)
        figures += _measure_media(modality, models, device, limits, sizes, rounds)
    return Report(
        "gpu",
        {"sizes": list(sizes), "rounds": rounds, "smoke": smoke, "device": device, "steps": models.steps},
        figures,
        [
            "Weights are random, in the published shapes: Vicuna 7B, SD 1.5 at 512 x 512, AudioLDM-L with 5 s, "
            "ZeroScope with 16 frames at 576 x 320; bfloat16.",
            "The share of the limit refers to a matrix product and a copy measured in the same run. The limit of text "
            "is the longer of reading all weights and computing all products, in each forward. The limit of media is "
            "their flops.",
            f"Jobs share a step if that changes no output of the network by more than {_BATCH_TOLERANCE}: GPU kernels "
            "differ by batch size, and bfloat16 has three digits.",
        ]
        + ["This was a smoke run of tiny models: the figures have no meaning."] * smoke,
    )


@dataclass(frozen=True, slots=True)
class HardwareLimits:
    """The limits of a device: flops a second of a large matrix product, and bytes a second of a copy."""

    flops: float
    bytes: float

    @classmethod
    def measured(cls, device: str, side: int) -> HardwareLimits:
        """Measure the limits with square matrices of `side` rows."""
        matrix = torch.rand(side, side, device=device, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
        copy = torch.empty_like(matrix)
        product = min(_seconds(lambda: torch.matmul(matrix, matrix), device) for _ in range(5))
        copying = min(_seconds(lambda: copy.copy_(matrix), device) for _ in range(5))
        return cls(2 * side**3 / product, 2 * matrix.numel() * matrix.element_size() / copying)


def _measure_text(
    bundle: Bundle, models: ModelSizes, device: str, limits: HardwareLimits, sizes: Sequence[int], rounds: int
) -> list[Figure]:
    special_tokens = _special_tokens(bundle)
    model = llama_of(models, special_tokens, _VOCABULARY, device)
    engine = language_model_of(model, bundle, EngineConfig(kv_tokens=2048 * (max(sizes) + 8)))
    parameters = sum(weight.numel() for weight in model.parameters())
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    pad = special_tokens.eos_token_id
    figures = []
    try:
        for size in sizes:
            candidates = {
                "motet": partial(_engine_rate, engine, models.tokens, size),
                "one by one": partial(_generate_rate, model, pad, models.tokens, 1, device),
                "static batch": partial(_generate_rate, model, pad, models.tokens, size, device),
            }
            rates = _median_rates(rounds, candidates)
            limit = size / max(weights / limits.bytes, 2 * parameters * size / limits.flops)
            name = f"text, {size} at a time"
            figures += [
                Figure(name, rates["motet"], "tokens/s", Baseline("generate, one by one", rates["one by one"])),
                Figure(name, rates["motet"], "tokens/s", Baseline("generate, static batch", rates["static batch"])),
                Figure(f"{name}: share of the limit", 100 * rates["motet"] / limit, "%"),
            ]
    finally:
        engine.close()
    return figures


def _median_rates(rounds: int, candidates: Mapping[str, Callable[[], Awaitable[float]]]) -> dict[str, float]:
    samples = asyncio.run(alternating(rounds, candidates, warmup=1))
    return {name: median(rates) for name, rates in samples.items()}


def _special_tokens(bundle: Bundle) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig.from_pretrained(bundle.path(bundle.manifest.language_model.path))


async def _engine_rate(engine: LanguageModel, tokens: int, size: int) -> float:
    """Return the tokens a second of `size` simultaneous responses."""

    async def generate(seed: int) -> int:
        prompt = Prompt((Turn("user", (_PROMPT,)),), {}, tokens, temperature=1.0, seed=seed)
        async with closing(engine.generate(prompt, Deadline.never())) as events:
            return sum([event.output_tokens async for event in events if isinstance(event, Finished)])

    start = perf_counter()
    generated = sum(await asyncio.gather(*(generate(seed) for seed in range(size))))
    return generated / (perf_counter() - start)


async def _generate_rate(model: Any, pad: int, tokens: int, size: int, device: str) -> float:
    """Return the tokens a second of the library's `generate` for a batch of `size`."""
    prompt = torch.full((size, 32), 5, device=device)
    start = perf_counter()
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=True,
        pad_token_id=pad,
    )
    _synchronize(device)
    return size * tokens / (perf_counter() - start)


def _measure_media(
    modality: str, models: ModelSizes, device: str, limits: HardwareLimits, sizes: Sequence[int], rounds: int
) -> list[Figure]:
    model = diffusion_model_of(modality, models, device)
    flops = _flops(model, models, modality)
    pipeline = stock_libraries.pipeline_of(modality, model)
    conditioning = torch.rand(models.conditioning[modality], generator=torch.Generator().manual_seed(1))
    unconditional = model.unconditional[None]
    figures = []
    curve = CostCurve(_BATCH_TOLERANCE)
    decoder = decoder_of(modality, model, models, curve)
    try:
        for size in sizes:
            while curve.to_try(curve.size(size)):
                asyncio.run(_decoder_rate(decoder, modality, conditioning, size))
            candidates = {
                "motet": partial(_decoder_rate, decoder, modality, conditioning, size),
                "stock": partial(_pipeline_rate, pipeline, modality, models, conditioning, unconditional, device),
            }
            rates = _median_rates(rounds, candidates)
            name = f"{modality}, {size} at a time"
            baseline = Baseline("stock pipeline, one by one", rates["stock"])
            figures += [
                Figure(name, rates["motet"], _UNITS[modality], baseline),
                Figure(f"{name}: share of the limit", 100 * rates["motet"] * flops / limits.flops, "%"),
            ]
    finally:
        decoder.close()
    largest = max((cost.difference for size, cost in curve.costs.items() if curve.allows(size)), default=0.0)
    return [*figures, Figure(f"{modality}: difference of the network's output in a batch and alone", largest, "")]


async def _pipeline_rate(
    pipeline: Any,
    modality: str,
    models: ModelSizes,
    conditioning: torch.Tensor,
    unconditional: torch.Tensor,
    device: str,
) -> float:
    """Return the media a second of the stock pipeline, one after another."""

    def run() -> None:
        stock_libraries.run_pipeline(pipeline, modality, models, conditioning[None], unconditional)

    return 1 / _seconds(run, device)


async def _decoder_rate(decoder: Decoder, modality: str, conditioning: torch.Tensor, size: int) -> float:
    """Return the media a second of `size` simultaneous jobs."""
    tensor = Tensor("float32", tuple(conditioning.shape), conditioning.numpy().tobytes())

    async def decode(seed: int) -> None:
        async with closing(decoder.decode(DecodeJob(modality, tensor, seed), Deadline.never())) as events:
            async for _ in events:
                pass

    start = perf_counter()
    await asyncio.gather(*(decode(seed) for seed in range(size)))
    return size / (perf_counter() - start)


def _flops(model: Any, models: ModelSizes, modality: str) -> int:
    """Return the flops of one decode: all guided steps, and the media from its latents."""
    state = model.prepare(torch.rand(models.conditioning[modality]), 0, models.steps, 7.5)
    with FlopCounterMode(display=False) as step:
        model.step(state)
    with FlopCounterMode(display=False) as finish:
        model.finish(state)
    return int(step.get_total_flops() * models.steps + finish.get_total_flops())


def _seconds(work: Callable[[], object], device: str) -> float:
    _synchronize(device)
    start = perf_counter()
    work()
    _synchronize(device)
    return perf_counter() - start


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _free_memory(device: str) -> None:
    """Free the memory of the previous models."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
