"""Workers that compute nothing and take the measured times, on the clock of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random

from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import (
    DecodeJob,
    Finished,
    LanguageEvent,
    Load,
    Progress,
    Prompt,
    Signal,
    SignalStarted,
    TextPiece,
)
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.benchmarks.load.scripted_toys import parse_script, prompt_text
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts, sample_at

_CONDITIONING = Tensor("float32", (1,), bytes(4))
_BYTES = bytes(64)


@dataclass(slots=True, eq=False)
class _BatchedCall:
    """A call in a batch: its number of units, the units done, and a queue of each new value of `done`."""

    units: int
    done: int = 0
    progress: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


class SimulatedBatch:
    """Calls that advance together, `grain` units a tick. A call joins or leaves the batch between two ticks.

    The costs determine the seconds of a tick. `busy` is the sum of the seconds of all ticks.
    """

    def __init__(self, costs: TickCosts, grain: int, random: Random) -> None:
        self.busy = 0.0
        self._costs = costs
        self._grain = grain
        self._random = random
        self._calls: dict[_BatchedCall, None] = {}
        self._ticking: asyncio.Task[None] | None = None

    async def advance(self, units: int) -> AsyncGenerator[int, None]:
        """Run a call of some units. Yield the number of done units after each tick."""
        call = _BatchedCall(units)
        self._calls[call] = None
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        try:
            while call.done < units:
                yield await call.progress.get()
        finally:
            self._calls.pop(call, None)

    async def _tick(self) -> None:
        while calls := list(self._calls):
            units = min(self._grain, max(call.units - call.done for call in calls))
            seconds = units * self._costs.seconds(len(calls), self._random.random())
            await asyncio.sleep(seconds)
            self.busy += seconds
            for call in calls:
                call.done = min(call.units, call.done + units)
                call.progress.put_nowait(call.done)
                if call.done == call.units:
                    self._calls.pop(call, None)
        self._ticking = None


class SimulatedWorker:
    """A simulated worker: a limiter that admits `slots` calls at a time, and a batch of the running calls."""

    def __init__(self, costs: TickCosts, slots: int, grain: int, random: Random) -> None:
        self.limiter = ConcurrencyLimiter(slots, slots * 4)
        self.batch = SimulatedBatch(costs, grain, random)
        self.random = random

    def loads(self) -> AsyncIterator[Load]:
        """Yield the load now and after each change."""
        return self.limiter.watch()


class SimulatedLanguageModel(SimulatedWorker):
    """A `LanguageModel` that follows the script in its prompt, see `services.benchmarks.load.scripted_toys`."""

    def __init__(self, costs: MeasuredCosts, slots: int, grain: int, random: Random) -> None:
        super().__init__(costs.token, slots, grain, random)
        self._costs = costs

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield text and signals as their tokens are done. A run of signal tokens counts as one token."""
        script = parse_script(prompt_text(prompt), self._costs.step)
        total = sum(item if isinstance(item, int) else 1 for item in script)
        async with self.limiter.admitted():
            await asyncio.sleep(sample_at(self._costs.prompt, self.random.random()))
            generated = 0
            async for done in self.batch.advance(total):
                deadline.check("the language model was generating")
                for event in _events_between(script, generated, done):
                    yield event
                generated = done
            yield Finished("stop", 1, total)


def _events_between(script: Sequence[int | str], start: int, end: int) -> list[LanguageEvent]:
    """Return the events of a script's tokens from `start` up to `end`."""
    events: list[LanguageEvent] = []
    position = 0
    for item in script:
        length = item if isinstance(item, int) else 1
        count = min(end, position + length) - max(start, position)
        if count > 0:
            events += [TextPiece("m" * count)] if isinstance(item, int) else _signal_events(item)
        position += length
    return events


def _signal_events(modality: str) -> list[LanguageEvent]:
    return [SignalStarted(modality), Signal(modality, _CONDITIONING)]


class SimulatedDecoder(SimulatedWorker):
    """A `Decoder` of one modality. `steps` is the number of denoising steps if the job sets none."""

    def __init__(self, costs: MeasuredCosts, modality: str, steps: int, slots: int, grain: int, random: Random) -> None:
        super().__init__(costs.step[modality], slots, grain, random)
        self._finish = costs.finish[modality]
        self._steps = steps

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield the progress after each tick, then the media."""
        total = job.steps or self._steps
        async with self.limiter.admitted():
            async for done in self.batch.advance(total):
                deadline.check("the decoder was running")
                yield Progress(done, total)
            await asyncio.sleep(sample_at(self._finish, self.random.random()))
            yield Media("application/octet-stream", _BYTES)


class NoEncoder:
    """An `Encoder` for loads without media in the requests."""

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Raise `FaultError`."""
        raise FaultError("simulated loads hold no media")
