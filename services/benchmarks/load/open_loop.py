"""Open-loop load: requests arrive at their times, independent of the responses to earlier requests.

Latencies count from the time at which a request was due. If they counted from the time at which it was sent, a stalled
server would receive fewer requests and appear faster (coordinated omission).
"""

from __future__ import annotations

import asyncio
import csv
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from motet.core.clock import now
from motet.core.errors import SettingsError
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from services.benchmarks.load.client_trace import ClientTrace, trace_request


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """A request of a load. `at` is its arrival in seconds after the start of the load.

    `cancel_after` is the time at which the client cancels, in seconds after the arrival; None never cancels.
    """

    at: float
    text: str
    seed: int
    tenant: str = ""
    cancel_after: float | None = None


def poisson_requests(rate: float, seconds: float, texts: Sequence[str], rng: random.Random) -> list[ScheduledRequest]:
    """Return Poisson arrivals with a mean of `rate` requests a second. The texts repeat in order."""
    requests: list[ScheduledRequest] = []
    at = rng.expovariate(rate)
    for text in cycle(texts):
        if at >= seconds:
            return requests
        requests.append(ScheduledRequest(at, text, rng.getrandbits(62)))
        at += rng.expovariate(rate)
    raise SettingsError("a load needs at least one prompt")


def read_trace(path: Path, rng: random.Random) -> list[ScheduledRequest]:
    """Read a recorded load: a CSV file with arrival seconds and prompts, in any order. The first line may be a heading.

    Raises `SettingsError` with the number of the invalid line.
    """
    requests = []
    try:
        with path.open(newline="") as file:
            for number, line in enumerate(csv.reader(file), 1):
                try:
                    at, text = line
                    requests.append(ScheduledRequest(float(at), text, rng.getrandbits(62)))
                except ValueError:
                    if number > 1 or len(line) != 2:
                        raise SettingsError(f"{path}, line {number}: write SECONDS,PROMPT, not {line}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if not requests:
        raise SettingsError(f"{path} holds no request")
    return sorted(requests, key=lambda request: request.at)


def with_cancellations(
    requests: Sequence[ScheduledRequest], share: float, longest: float, rng: random.Random
) -> list[ScheduledRequest]:
    """Return the requests, a share of them with a random time of cancellation within `longest` seconds."""
    return [
        replace(request, cancel_after=rng.uniform(0, longest)) if rng.random() < share else request
        for request in requests
    ]


async def send_all(
    motet: Motet, requests: Sequence[ScheduledRequest], timeout: float | None = None
) -> list[ClientTrace]:
    """Send each request when it is due. Return the traces in the order of the requests."""
    start = now()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_send(motet, request, start, timeout)) for request in requests]
    return [task.result() for task in tasks]


async def _send(motet: Motet, scheduled: ScheduledRequest, start: float, timeout: float | None) -> ClientTrace:
    trace = ClientTrace(start + scheduled.at)
    await asyncio.sleep(max(0.0, trace.due - now()))
    messages = (Message("user", (scheduled.text,)),)
    request = GenerationRequest(messages, seed=scheduled.seed, timeout=timeout, tenant=scheduled.tenant)
    if scheduled.cancel_after is None:
        return await trace_request(motet, request, trace)
    with suppress(TimeoutError):
        async with asyncio.timeout(scheduled.cancel_after):
            await trace_request(motet, request, trace)
            return trace
    trace.cancelled_after = scheduled.cancel_after
    return trace
