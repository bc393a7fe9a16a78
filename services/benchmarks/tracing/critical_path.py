"""The least time that a request, or a load of them, could have taken, from what its workers were measured to need."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.benchmarks.tracing.spans import LANGUAGE_MODEL


@dataclass(frozen=True, slots=True)
class Making:
    """One piece of media: its signal was out `after` seconds of writing, and its decoder took `seconds`."""

    modality: str
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stages:
    """The workers' own seconds for one request: encoding, writing, and making each piece of media."""

    encode: float
    write: float
    makings: tuple[Making, ...] = ()

    @property
    def bound(self) -> float:
        """No orchestrator can be faster: the longest chain of what waits for what."""
        return self.encode + max(self.write, *(making.after + making.seconds for making in self.makings), 0.0)

    @property
    def sequential(self) -> float:
        """One worker after another."""
        return self.encode + self.write + sum(making.seconds for making in self.makings)

    @property
    def barrier(self) -> float:
        """All decoders together, once the language model is done."""
        return self.encode + self.write + max((making.seconds for making in self.makings), default=0.0)

    @property
    def critical(self) -> Making | None:
        """The piece of media that ends the longest chain; None where writing does."""
        last = max(self.makings, key=lambda making: making.after + making.seconds, default=None)
        return last if last and last.after + last.seconds > self.write else None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a load: when it came, in seconds, and what it took of each worker."""

    at: float
    stages: Stages


@dataclass(slots=True)
class _Pool:
    """Some equal workers of one kind, each at one call at a time. Calls are served in the order of their asking."""

    free: list[float] = field(default_factory=list)

    def serve(self, ready: float, seconds: float) -> float:
        """Begin as soon as one is free; when it began."""
        begun = max(ready, self.free[0])
        heapq.heapreplace(self.free, begun + seconds)
        return begun


def ideal(arrivals: Sequence[Arrival], width: Mapping[str, int]) -> list[float]:
    """When each request would be done if orchestration took no time at all.

    `width` is how many calls each modality's decoders, and the language model, serve at once; first come, first
    served. The result is in the order of the arrivals.
    """
    pools = {worker: _Pool([0.0] * count) for worker, count in width.items()}
    done = [0.0] * len(arrivals)
    asked: list[tuple[float, int, Making]] = []
    for number, arrival in sorted(enumerate(arrivals), key=lambda item: item[1].at + item[1].stages.encode):
        stages = arrival.stages
        begun = pools[LANGUAGE_MODEL].serve(arrival.at + stages.encode, stages.write)
        done[number] = begun + stages.write
        asked += [(begun + making.after, number, making) for making in stages.makings]
    for ready, number, making in sorted(asked, key=lambda item: item[:2]):
        done[number] = max(done[number], pools[making.modality].serve(ready, making.seconds) + making.seconds)
    return done


def system_bound(arrivals: Sequence[Arrival], width: Mapping[str, int]) -> float:
    """No schedule at all could have ended this load earlier: seconds on the clock of the arrivals.

    Every request takes its own longest chain, and the work that a pool is given from any moment on takes the pool at
    least that work divided by its width.
    """
    bound = max((arrival.at + arrival.stages.bound for arrival in arrivals), default=0.0)
    for worker, count in width.items():
        left = 0.0
        for ready, seconds in sorted(_work(arrivals, worker), reverse=True):
            left += seconds
            bound = max(bound, ready + left / count)
    return bound


def _work(arrivals: Sequence[Arrival], worker: str) -> list[tuple[float, float]]:
    """What a pool is given: when at the earliest, and how many seconds of work."""
    given = []
    for arrival in arrivals:
        start = arrival.at + arrival.stages.encode
        if worker == LANGUAGE_MODEL:
            given.append((start, arrival.stages.write))
        given += [(start + made.after, made.seconds) for made in arrival.stages.makings if made.modality == worker]
    return given
