"""The least time that a request, or a load of requests, can take, from the measured seconds of its workers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.benchmarks.tracing.spans import LANGUAGE_MODEL


@dataclass(frozen=True, slots=True)
class DecodeStage:
    """One decode: its signal came `signal_at` seconds after the language model started, its decoder took `seconds`.

    `needs` are the positions of the earlier decodes of the request whose media are inputs of this one.
    """

    modality: str
    signal_at: float
    seconds: float
    needs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestStages:
    """The workers' seconds for one request: the encoder's, the language model's, and each decode."""

    encode: float
    generate: float
    decodes: tuple[DecodeStage, ...] = ()

    @property
    def starts(self) -> list[float]:
        """The earliest start of each decode, in seconds after the language model started."""
        return self._starts([decode.signal_at for decode in self.decodes])

    @property
    def ends(self) -> list[float]:
        """The earliest end of each decode, in seconds after the language model started."""
        return [start + decode.seconds for start, decode in zip(self.starts, self.decodes, strict=True)]

    @property
    def bound(self) -> float:
        """The longest chain of dependent stages, in seconds: no orchestrator can be faster."""
        return self.encode + max(self.generate, *self.ends, 0.0)

    @property
    def sequential(self) -> float:
        """The seconds if one worker runs after another."""
        return self.encode + self.generate + sum(decode.seconds for decode in self.decodes)

    @property
    def barrier(self) -> float:
        """The seconds if no decoder starts before the language model ends."""
        starts = self._starts([self.generate] * len(self.decodes))
        ends = (start + decode.seconds for start, decode in zip(starts, self.decodes, strict=True))
        return self.encode + max(ends, default=self.generate)

    @property
    def critical(self) -> list[DecodeStage]:
        """The decodes of the longest chain, the last one first; empty if the language model ends it."""
        ends, chain = self.ends, []
        last = max(range(len(ends)), key=lambda index: ends[index], default=None)
        if last is None or ends[last] <= self.generate:
            return []
        while last is not None:
            decode = self.decodes[last]
            chain.append(decode)
            late = [need for need in decode.needs if ends[need] > decode.signal_at]
            last = max(late, key=lambda index: ends[index], default=None)
        return chain

    def _starts(self, ready: Sequence[float]) -> list[float]:
        """Return the start of each decode that is ready at a time, except for its inputs."""
        starts: list[float] = []
        ends: list[float] = []
        for decode, at in zip(self.decodes, ready, strict=True):
            starts.append(max([at, *(ends[need] for need in decode.needs)]))
            ends.append(starts[-1] + decode.seconds)
        return starts


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
    decodes: list[tuple[float, int, int]] = []
    started: dict[int, float] = {}
    for number, arrival in sorted(enumerate(arrivals), key=lambda item: item[1].at + item[1].stages.encode):
        stages = arrival.stages
        started[number] = pools[LANGUAGE_MODEL].schedule(arrival.at + stages.encode, stages.generate)
        ends[number] = started[number] + stages.generate
        decodes += [
            (started[number] + decode.signal_at, number, index)
            for index, decode in enumerate(stages.decodes)
            if not decode.needs
        ]
    heapq.heapify(decodes)
    made: dict[tuple[int, int], float] = {}
    while decodes:
        ready, number, index = heapq.heappop(decodes)
        stages = arrivals[number].stages
        decode = stages.decodes[index]
        made[number, index] = pools[decode.modality].schedule(ready, decode.seconds) + decode.seconds
        ends[number] = max(ends[number], made[number, index])
        for taker, later in enumerate(stages.decodes):
            if index in later.needs and all((number, need) in made for need in later.needs):
                inputs = max(made[number, need] for need in later.needs)
                heapq.heappush(decodes, (max(started[number] + later.signal_at, inputs), number, taker))
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
        decodes = zip(arrival.stages.starts, arrival.stages.decodes, strict=True)
        calls += [(start + ready, decode.seconds) for ready, decode in decodes if decode.modality == worker]
    return calls
