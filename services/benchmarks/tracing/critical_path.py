"""The least time that a request, or a load of requests, can take, from the measured seconds of its workers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.benchmarks.tracing.spans import LANGUAGE_MODEL


@dataclass(frozen=True, slots=True)
class DecodeStage:
    """One decode: its signal came `signal_at` seconds after the language model started, its decoder took `seconds`."""

    modality: str
    signal_at: float
    seconds: float

    @property
    def end(self) -> float:
        """The earliest end, in seconds after the language model started."""
        return self.signal_at + self.seconds


@dataclass(frozen=True, slots=True)
class RequestStages:
    """The workers' seconds for one request: the encoder's, the language model's, and each decode."""

    encode: float
    generate: float
    decodes: tuple[DecodeStage, ...] = ()

    @property
    def bound(self) -> float:
        """The longest chain of dependent stages, in seconds: no orchestrator can be faster."""
        return self.encode + max(self.generate, *(decode.end for decode in self.decodes), 0.0)

    @property
    def sequential(self) -> float:
        """The seconds if one worker runs after another."""
        return self.encode + self.generate + sum(decode.seconds for decode in self.decodes)

    @property
    def barrier(self) -> float:
        """The seconds if all decoders start when the language model ends."""
        return self.encode + self.generate + max((decode.seconds for decode in self.decodes), default=0.0)

    @property
    def critical(self) -> DecodeStage | None:
        """The decode that ends the longest chain; None if the language model ends it."""
        last = max(self.decodes, key=lambda decode: decode.end, default=None)
        return last if last and last.end > self.generate else None


@dataclass(frozen=True, slots=True)
class TracedArrival:
    """A request of a load: its arrival in seconds, and its stages."""

    at: float
    stages: RequestStages


@dataclass(slots=True)
class _WorkerPool:
    """Equal workers of one kind, each with one call at a time, first come first served.

    `free_at` is a heap of the times at which the workers become free.
    """

    free_at: list[float] = field(default_factory=list)

    def schedule(self, ready: float, seconds: float) -> float:
        """Schedule a call that is ready at a time. Return its start."""
        start = max(ready, self.free_at[0])
        heapq.heapreplace(self.free_at, start + seconds)
        return start


def ideal_ends(arrivals: Sequence[TracedArrival], slots: Mapping[str, int]) -> list[float]:
    """Return the end of each request under an orchestrator that takes no time, in the order of the arrivals.

    `slots` is the number of simultaneous calls of each modality's decoders and of the language model. Each pool serves
    its calls first come, first served.
    """
    pools = {worker: _WorkerPool([0.0] * count) for worker, count in slots.items()}
    ends = [0.0] * len(arrivals)
    decodes: list[tuple[float, int, DecodeStage]] = []
    for number, arrival in sorted(enumerate(arrivals), key=lambda item: item[1].at + item[1].stages.encode):
        stages = arrival.stages
        start = pools[LANGUAGE_MODEL].schedule(arrival.at + stages.encode, stages.generate)
        ends[number] = start + stages.generate
        decodes += [(start + decode.signal_at, number, decode) for decode in stages.decodes]
    for ready, number, decode in sorted(decodes, key=lambda item: item[:2]):
        start = pools[decode.modality].schedule(ready, decode.seconds)
        ends[number] = max(ends[number], start + decode.seconds)
    return ends


def system_bound(arrivals: Sequence[TracedArrival], slots: Mapping[str, int]) -> float:
    """Return the earliest time at which any schedule can end the load, in seconds on the clock of the arrivals.

    Every request needs its longest chain. The work that becomes ready for a pool after any point in time takes at least
    the sum of its seconds divided by the pool's slots.
    """
    bound = max((arrival.at + arrival.stages.bound for arrival in arrivals), default=0.0)
    for worker, count in slots.items():
        work = 0.0
        for ready, seconds in sorted(_calls(arrivals, worker), reverse=True):
            work += seconds
            bound = max(bound, ready + work / count)
    return bound


def _calls(arrivals: Sequence[TracedArrival], worker: str) -> list[tuple[float, float]]:
    """Return the earliest start and the seconds of each call to a pool."""
    calls = []
    for arrival in arrivals:
        start = arrival.at + arrival.stages.encode
        if worker == LANGUAGE_MODEL:
            calls.append((start, arrival.stages.generate))
        calls += [
            (start + decode.signal_at, decode.seconds) for decode in arrival.stages.decodes if decode.modality == worker
        ]
    return calls
