"""Workers that compute nothing, but take as long as measured ones: on whatever clock the event loop has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random

from motet.core.capacity import Load
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import (
    DecodeJob,
    Finished,
    LanguageEvent,
    Progress,
    Prompt,
    Signal,
    SignalStarted,
    TextPiece,
)
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.benchmarks.load.scripted_toys import script_of
from services.benchmarks.simulation.measured_costs import Costs, Curve, drawn

_CONDITIONING = Tensor("float32", (1,), bytes(4))
_BYTES = bytes(64)


@dataclass(slots=True, eq=False)
class _Row:
    """A call in a batch: how many of its units are done, told each time they grow."""

    units: int
    done: int = 0
    told: asyncio.Queue[int] = field(default_factory=asyncio.Queue)


class Batch:
    """Calls that advance together, `grain` units a tick. They join and leave between two ticks.

    A tick takes as long as the curve says for so many calls; `busy` is the seconds in which there was one.
    """

    def __init__(self, curve: Curve, grain: int, random: Random) -> None:
        self.busy = 0.0
        self._curve = curve
        self._grain = grain
        self._random = random
        self._rows: dict[_Row, None] = {}
        self._turning: asyncio.Task[None] | None = None

    async def advance(self, units: int) -> AsyncGenerator[int, None]:
        """How many units are done, each time that changes, until all are."""
        row = _Row(units)
        self._rows[row] = None
        if self._turning is None:
            self._turning = asyncio.create_task(self._turn())
        try:
            while row.done < units:
                yield await row.told.get()
        finally:
            self._rows.pop(row, None)

    async def _turn(self) -> None:
        while rows := list(self._rows):
            units = min(self._grain, max(row.units - row.done for row in rows))
            seconds = units * self._curve.seconds(len(rows), self._random.random())
            await asyncio.sleep(seconds)
            self.busy += seconds
            for row in rows:
                row.done = min(row.units, row.done + units)
                row.told.put_nowait(row.done)
                if row.done == row.units:
                    self._rows.pop(row, None)
        self._turning = None


class SimulatedWorker:
    """What a simulated worker of any kind has: a limiter that lets in `width` calls at a time, and a batch of those."""

    def __init__(self, curve: Curve, width: int, grain: int, random: Random) -> None:
        self.limiter = ConcurrencyLimiter(width, width * 4)
        self.batch = Batch(curve, grain, random)
        self.random = random

    def loads(self) -> AsyncIterator[Load]:
        """Its load, at once and after each change."""
        return self.limiter.watch()


class SimulatedLanguageModel(SimulatedWorker):
    """A `LanguageModel` that writes the text its prompt asks for, a few tokens at a time.

    `services.benchmarks.load.scripted_toys` reads the prompt.
    """

    def __init__(self, costs: Costs, width: int, grain: int, random: Random) -> None:
        super().__init__(costs.token, width, grain, random)
        self._costs = costs

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Pieces and signals as their tokens are done; a run is one token."""
        said = " ".join(part for part in prompt.turns[-1].parts if isinstance(part, str))
        script = script_of(said, self._costs.step)
        total = sum(wanted if isinstance(wanted, int) else 1 for wanted in script)
        async with self.limiter.admitted():
            await asyncio.sleep(drawn(self._costs.prompt, self.random.random()))
            written = 0
            async for done in self.batch.advance(total):
                deadline.check("writing")
                for event in _between(script, written, done):
                    yield event
                written = done
            yield Finished("stop", 1, total)


def _between(script: Sequence[int | str], begin: int, end: int) -> list[LanguageEvent]:
    """What a script's tokens from `begin` up to `end` say."""
    events: list[LanguageEvent] = []
    place = 0
    for wanted in script:
        length = wanted if isinstance(wanted, int) else 1
        count = min(end, place + length) - max(begin, place)
        if count > 0:
            events += [TextPiece("m" * count)] if isinstance(wanted, int) else _asking(wanted)
        place += length
    return events


def _asking(modality: str) -> list[LanguageEvent]:
    return [SignalStarted(modality), Signal(modality, _CONDITIONING)]


class SimulatedDecoder(SimulatedWorker):
    """A `Decoder` of one modality, `steps` steps where a job names none."""

    def __init__(self, costs: Costs, modality: str, steps: int, width: int, grain: int, random: Random) -> None:
        super().__init__(costs.step[modality], width, grain, random)
        self._finish = costs.finish[modality]
        self._steps = steps

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Progress after each tick of its batch, then media."""
        total = job.steps or self._steps
        async with self.limiter.admitted():
            async for done in self.batch.advance(total):
                deadline.check(f"making {job.modality}")
                yield Progress(done, total)
            await asyncio.sleep(drawn(self._finish, self.random.random()))
            yield Media("application/octet-stream", _BYTES)


class NoEncoder:
    """An `Encoder` for loads that show no media."""

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Raises `FaultError`."""
        raise FaultError("simulated loads show no media")
