"""Helpers to generate responses with a tiny language model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from motet.core.deadline import Deadline
from motet.core.workers import LanguageEvent, Prompt, Signal, Turn
from motet.models.llm.language_model import LlamaLanguageModel
from motet.models.llm.layers.attention import TokenRange
from tests.models.tiny_bundle import RUNS

POSITIONS = 200
"""Maximum number of tokens of prompt and response together."""

NO_CEILING = dict.fromkeys(RUNS, 100)
LONG_TEXT = "x y z " * 20

Load = Callable[..., LlamaLanguageModel]
"""A function that loads the model with an `EngineConfig` of the given values."""


def prompt_of(text: str, **options: object) -> Prompt:
    """Return a prompt of one turn, with at most 20 tokens of output by default."""
    return Prompt((Turn("user", (text,)),), **{"max_tokens": 20, **options})  # type: ignore[arg-type]


async def generate(model: LlamaLanguageModel, prompt: Prompt) -> list[LanguageEvent]:
    """Return all events of a response."""
    return [event async for event in model.generate(prompt, Deadline.after(30))]


async def generate_all(model: LlamaLanguageModel, prompts: list[Prompt]) -> list[list[LanguageEvent]]:
    """Return the events of concurrent responses."""
    return await asyncio.gather(*(generate(model, prompt) for prompt in prompts))


def without_conditioning(events: list[LanguageEvent]) -> list[object]:
    """Return the events with the modality in place of each signal, since conditioning differs by float error."""
    return [event.modality if isinstance(event, Signal) else event for event in events]


async def first_forward(forwards: list[Sequence[TokenRange]]) -> None:
    """Wait until the first of the recorded forwards has started."""
    while not forwards:
        await asyncio.sleep(0)
