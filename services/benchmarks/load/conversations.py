"""What the language model is asked in benchmarks, and how its answers are listened to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.workers import Finished, LanguageEvent, LanguageModel, Prompt, Turn

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
"""A shipped bundle answers these with eleven to fifty tokens."""


@dataclass(slots=True)
class Heard:
    """One answer: its events, and when each was heard, in seconds of `perf_counter`."""

    asked: float
    events: list[LanguageEvent] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """How many tokens were written."""
        last = self.events[-1]
        assert isinstance(last, Finished), last
        return last.output_tokens

    @property
    def first(self) -> float:
        """Seconds until the first event."""
        return self.times[0] - self.asked

    def silence(self, begin: float, end: float) -> float:
        """The longest time in which nothing was heard, of times that touch an interval; 0.0 where none does."""
        gaps = zip(self.times, self.times[1:], strict=False)
        return max((after - before for before, after in gaps if after > begin and before < end), default=0.0)


def prompt(text: str, tokens: int, seed: int = 0, **more: object) -> Prompt:
    """One question."""
    return Prompt((Turn("user", (text,)),), **{"max_tokens": tokens, "seed": seed, **more})  # type: ignore[arg-type]


def endless(seed: int, tokens: int = 300) -> Prompt:
    """One that is answered by about so many tokens: at this temperature anything is written, and the end is rare."""
    return prompt("hello", tokens, seed, temperature=4.0)


async def hear(model: LanguageModel, asked: Prompt) -> Heard:
    """The whole answer."""
    heard = Heard(perf_counter())
    async with closing(model.generate(asked, Deadline.never())) as events:
        async for event in events:
            heard.events.append(event)
            heard.times.append(perf_counter())
    return heard


async def hear_all(model: LanguageModel, prompts: Sequence[Prompt], at_a_time: int | None = None) -> list[Heard]:
    """The answers to prompts that are put at once, or so many at a time: the next as soon as one is answered."""
    room = asyncio.Semaphore(at_a_time or len(prompts))

    async def one(asked: Prompt) -> Heard:
        async with room:
            return await hear(model, asked)

    return list(await asyncio.gather(*map(one, prompts)))
