"""A load of bursts, each of one modality."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.benchmarks.load.open_loop import ScheduledRequest, poisson_requests
from services.benchmarks.load.scripted_toys import scripted_prompt


@dataclass(frozen=True, slots=True)
class Burst:
    """Requests for one modality from `start` to `end`, in seconds, which `replicas` replicas can serve."""

    modality: str
    start: float
    end: float
    replicas: int


def random_bursts(
    modality: str, number: int, seconds: float, total: float, max_replicas: int, rng: random.Random
) -> list[Burst]:
    """Return bursts of `seconds` seconds in a time of `total` seconds, in order. They do not overlap."""
    slot = total / number
    starts = [index * slot + rng.uniform(0, max(0.0, slot - seconds)) for index in range(number)]
    return [Burst(modality, start, start + seconds, rng.randint(1, max_replicas)) for start in starts]


def requests_of(burst: Burst, rate: float, tokens: int, rng: random.Random) -> list[ScheduledRequest]:
    """Return the requests of a burst. `rate` is the number of requests a second that one replica can serve."""
    text = scripted_prompt([burst.modality], tokens, tokens, tokens)
    requests = poisson_requests(rate * burst.replicas, burst.end - burst.start, [text], rng)
    return [replace(request, at=burst.start + request.at) for request in requests]


def oracle_of(bursts: Sequence[Burst], lead: float, linger: float) -> list[tuple[float, int]]:
    """Return the times and the numbers of replicas of a fleet that knows all bursts of a modality.

    Replicas are started `lead` seconds before a burst, and end `linger` seconds after it, unless the next burst comes.
    """
    changes: list[tuple[float, int]] = []
    ends = [burst.start - lead for burst in bursts[1:]] + [math.inf]
    for burst, following in zip(bursts, ends, strict=True):
        changes.append((max(0.0, burst.start - lead), burst.replicas))
        if burst.end + linger < following:
            changes.append((burst.end + linger, 0))
    return changes
