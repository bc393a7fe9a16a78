"""Prompts for the language model, and traces of its responses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.workers import Finished, LanguageEvent, LanguageModel, Prompt, Turn

THREE_MEDIA = "Show me a penguin on a blue background, play a low note on a flute and make a clip of a car growing."
"""A request to which the nano bundle responds with an image, a sound and a clip."""

QUESTIONS = (
    "show me a red dog on a hill",
    "what is a harp?",
    "play a low violin",
    "tell me about bees and their home",
    "hello",
    "a clip of a growing balloon please",
    "which animals do you know?",
    "make a picture of a blue cat and play a drum",
)
"""Questions to which the nano bundle responds with 11 to 50 tokens."""


@dataclass(slots=True)
class ResponseTrace:
    """The events of one response, and the time of each on the clock of `perf_counter`, in seconds."""

    sent_at: float
    events: list[LanguageEvent] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """The number of generated tokens."""
        last = self.events[-1]
        assert isinstance(last, Finished), last
        return last.output_tokens

    @property
    def first(self) -> float:
        """The seconds until the first event."""
        return self.times[0] - self.sent_at

    def longest_gap(self, start: float, end: float) -> float:
        """Return the longest time between two events, of the gaps that overlap [start, end]; 0.0 without such a gap."""
        gaps = zip(self.times, self.times[1:], strict=False)
        return max((after - before for before, after in gaps if after > start and before < end), default=0.0)


def prompt(text: str, tokens: int, seed: int = 0, **fields: object) -> Prompt:
    """Return a prompt with one message and a limit of `tokens`. `fields` are further fields of the prompt."""
    return Prompt((Turn("user", (text,)),), **{"max_tokens": tokens, "seed": seed, **fields})  # type: ignore[arg-type]


def long_prompt(seed: int, tokens: int = 300) -> Prompt:
    """Return a prompt whose response has about `tokens` tokens: at this temperature the end token is rare."""
    return prompt("hello", tokens, seed, temperature=4.0)


async def trace_response(model: LanguageModel, request: Prompt) -> ResponseTrace:
    """Generate a response to its end and record its events."""
    trace = ResponseTrace(perf_counter())
    async with closing(model.generate(request, Deadline.never())) as events:
        async for event in events:
            trace.events.append(event)
            trace.times.append(perf_counter())
    return trace


async def trace_responses(
    model: LanguageModel, prompts: Sequence[Prompt], concurrency: int | None = None
) -> list[ResponseTrace]:
    """Generate all responses, at most `concurrency` at a time. None starts all of them at once."""
    slots = asyncio.Semaphore(concurrency or len(prompts))

    async def trace(request: Prompt) -> ResponseTrace:
        async with slots:
            return await trace_response(model, request)

    return list(await asyncio.gather(*map(trace, prompts)))
