"""Full-size models on a GPU: Motet's engines against the stock libraries and the hardware's limit, in one run."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
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
    Scale,
    decoder_of,
    language_model_of,
    llama_of,
    singer_of,
)
from services.benchmarks.reports.report import Baseline, Figure, Report
from services.benchmarks.reports.statistics import alternating, median
from services.factory import open_bundle

SIZES = (1, 8, 32)
_VOCABULARY = 32038
_PROMPT = "Tell me all you know about penguins, and take your time."
_INFLUENCE = 0.1
"""As a decoder's setting; with 0, which is the default, hardly anything would be shared on a GPU."""
_UNITS = {PICTURE: "pictures/s", SOUND: "sounds/s", CLIP: "clips/s"}


def measure(
    sizes: Sequence[int] = SIZES,
    rounds: int = 3,
    modalities: Sequence[str] = (PICTURE, SOUND, CLIP),
    smoke: bool = False,
) -> Report:
    """Tokens and media a second with so many at a time. `smoke` runs the same code in small on a CPU.

    Raises `SettingsError` where there is no CUDA and no smoke is asked for.
    """
    if not smoke and not torch.cuda.is_available():
        raise SettingsError(
            "no GPU that torch can use is here: this benchmark needs CUDA, and a torch built for it; "
            "--smoke runs its code in small on a CPU"
        )
    scale, device = (TINY, "cpu") if smoke else (FULL, "cuda")
    machine = Machine.measured(device, 256 if smoke else 8192)
    figures = [
        Figure("matrix product, the hardware's limit", machine.flops / 1e12, "Tflop/s"),
        Figure("memory, the hardware's limit", machine.bytes / 1e9, "GB/s"),
    ]
    figures += _language(open_bundle("nano", ()), scale, device, machine, sizes, rounds)
    for modality in modalities:
        _forget(device)
        figures += _media(modality, scale, device, machine, sizes, rounds)
    return Report(
        "gpu",
        {"sizes": list(sizes), "rounds": rounds, "smoke": smoke, "device": device, "steps": scale.steps},
        figures,
        [
            "Weights are random, in the published shapes: Vicuna 7B, SD 1.5 at 512 x 512, AudioLDM-L with 5 s, "
            "ZeroScope with 16 frames at 576 x 320; bfloat16.",
            "The share of the limit is against a matrix product and a copy that were measured in the same run: for "
            "text, reading all weights once a pass or computing it, whichever is longer; for media, their flops.",
            f"Jobs share a step where their company moves no number that the network says by more than {_INFLUENCE}: "
            "kernels of a GPU differ by the size of a batch, and bfloat16 rounds to three digits.",
        ]
        + ["This was a smoke run of tiny models: the figures mean nothing."] * smoke,
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What the device can do at most: flops a second in a large matrix product, bytes a second in a copy."""

    flops: float
    bytes: float

    @classmethod
    def measured(cls, device: str, side: int) -> Machine:
        """By doing so."""
        matrix = torch.rand(side, side, device=device, dtype=torch.float32 if device == "cpu" else torch.bfloat16)
        copy = torch.empty_like(matrix)
        product = min(_seconds(lambda: torch.matmul(matrix, matrix), device) for _ in range(5))
        moving = min(_seconds(lambda: copy.copy_(matrix), device) for _ in range(5))
        return cls(2 * side**3 / product, 2 * matrix.numel() * matrix.element_size() / moving)


def _language(
    bundle: Bundle, scale: Scale, device: str, machine: Machine, sizes: Sequence[int], rounds: int
) -> list[Figure]:
    words = _words(bundle)
    model = llama_of(scale, words, _VOCABULARY, device)
    engine = language_model_of(model, bundle, EngineConfig(kv_tokens=2048 * (max(sizes) + 8)))
    parameters = sum(weight.numel() for weight in model.parameters())
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    figures = []
    try:
        for size in sizes:
            rates = alternating(
                rounds + 1,
                {
                    "motet": partial(_written, engine, scale.tokens, size),
                    "one by one": partial(_generated, model, words, scale.tokens, 1, device),
                    "static batch": partial(_generated, model, words, scale.tokens, size, device),
                },
            )
            best = {name: median(found[1:]) for name, found in rates.items()}  # the first round warms up
            limit = size / max(weights / machine.bytes, 2 * parameters * size / machine.flops)
            name = f"text, {size} at a time"
            figures += [
                Figure(name, best["motet"], "tokens/s", Baseline("generate, one by one", best["one by one"])),
                Figure(name, best["motet"], "tokens/s", Baseline("generate, static batch", best["static batch"])),
                Figure(f"{name}: share of the limit", 100 * best["motet"] / limit, "%"),
            ]
    finally:
        engine.close()
    return figures


def _words(bundle: Bundle) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig.from_pretrained(bundle.path(bundle.manifest.language_model.path))


def _written(engine: LanguageModel, tokens: int, size: int) -> float:
    """Tokens a second of so many answers at once."""

    async def one(seed: int) -> int:
        prompt = Prompt((Turn("user", (_PROMPT,)),), {}, tokens, temperature=1.0, seed=seed)
        async with closing(engine.generate(prompt, Deadline.never())) as events:
            return sum([event.output_tokens async for event in events if isinstance(event, Finished)])

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(one(seed) for seed in range(size))))

    begun = perf_counter()
    written = asyncio.run(all_of_them())
    return written / (perf_counter() - begun)


def _generated(model: Any, words: Any, tokens: int, size: int, device: str) -> float:
    prompt = torch.full((size, 32), 5, device=device)
    begun = perf_counter()
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=True,
        pad_token_id=words.eos_token_id,
    )
    _wait(device)
    return size * tokens / (perf_counter() - begun)


def _media(
    modality: str, scale: Scale, device: str, machine: Machine, sizes: Sequence[int], rounds: int
) -> list[Figure]:
    singer = singer_of(modality, scale, device)
    flops = _flops(singer, scale, modality)
    pipeline = stock_libraries.pipeline_of(modality, singer)
    told = torch.rand(scale.told[modality], generator=torch.Generator().manual_seed(1))
    untold = singer.unconditional[None]
    unit = _UNITS[modality]
    figures = []
    curve = CostCurve(_INFLUENCE)
    decoder = decoder_of(modality, singer, scale, curve)
    try:
        for size in sizes:
            while curve.to_try(curve.size(size)):
                _decoded(decoder, modality, told, size)
            rates = alternating(
                rounds + 1,
                {
                    "motet": partial(_decoded, decoder, modality, told, size),
                    "stock": partial(_stock, pipeline, modality, scale, told, untold, device),
                },
            )
            best = {name: median(found[1:]) for name, found in rates.items()}
            name = f"{modality}, {size} at a time"
            figures += [
                Figure(name, best["motet"], unit, Baseline("stock pipeline, one by one", best["stock"])),
                Figure(f"{name}: share of the limit", 100 * best["motet"] * flops / machine.flops, "%"),
            ]
    finally:
        decoder.close()
    worst = max((cost.influence for size, cost in curve.costs.items() if curve.allows(size)), default=0.0)
    return [*figures, Figure(f"{modality}: neighbours' influence on what the network says", worst, "")]


def _stock(pipeline: Any, modality: str, scale: Scale, told: torch.Tensor, untold: torch.Tensor, device: str) -> float:
    """Pieces of media a second, one after the other."""
    return 1 / _seconds(lambda: stock_libraries.make(pipeline, modality, scale, told[None], untold), device)


def _decoded(decoder: Decoder, modality: str, told: torch.Tensor, size: int) -> float:
    """Pieces of media a second, so many at once."""
    conditioning = Tensor("float32", tuple(told.shape), told.numpy().tobytes())

    async def one(seed: int) -> None:
        async with closing(decoder.decode(DecodeJob(modality, conditioning, seed), Deadline.never())) as events:
            async for _ in events:
                pass

    async def all_of_them() -> None:
        await asyncio.gather(*(one(seed) for seed in range(size)))

    begun = perf_counter()
    asyncio.run(all_of_them())
    return size / (perf_counter() - begun)


def _flops(singer: Any, scale: Scale, modality: str) -> int:
    """Of one piece of media: all guided steps, and making it from its latents."""
    song = singer.prepare(torch.rand(scale.told[modality]), 0, scale.steps, 7.5)
    with FlopCounterMode(display=False) as step:
        singer.step(song)
    with FlopCounterMode(display=False) as rest:
        singer.finish(song)
    return int(step.get_total_flops() * scale.steps + rest.get_total_flops())


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    begun = perf_counter()
    work()
    _wait(device)
    return perf_counter() - begun


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _forget(device: str) -> None:
    """Give back the memory of the models before."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
