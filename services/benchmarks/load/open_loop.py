"""Requests that come when they come, whether or not earlier ones are answered: an open loop.

Latencies count from when a request was due. Were they counted from when it could be sent, a server that stalls would
be asked less and look better for it (coordinated omission).
"""

from __future__ import annotations

import asyncio
import csv
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from motet.core.clock import now
from motet.core.errors import SettingsError
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet
from services.benchmarks.load.client_trace import Heard, listen


@dataclass(frozen=True, slots=True)
class Due:
    """A request: when it comes, in seconds from the beginning, what it says, on whose behalf, and its seed.

    `patience` is after how many seconds its caller hangs up; None is never.
    """

    at: float
    text: str
    seed: int
    tenant: str = ""
    patience: float | None = None


def poisson(rate: float, seconds: float, texts: Sequence[str], rng: random.Random) -> list[Due]:
    """Requests at random moments, `rate` a second on average, that say these texts in turns."""
    due: list[Due] = []
    at = rng.expovariate(rate)
    for text in cycle(texts):
        if at >= seconds:
            return due
        due.append(Due(at, text, rng.getrandbits(62)))
        at += rng.expovariate(rate)
    raise SettingsError("a load needs at least one prompt")


def trace(path: Path, rng: random.Random) -> list[Due]:
    """A recorded load: a CSV of arrival seconds and prompts, in any order. Raises `SettingsError`, naming the line."""
    due = []
    try:
        with path.open(newline="") as file:
            for number, line in enumerate(csv.reader(file), 1):
                try:
                    at, text = line
                    due.append(Due(float(at), text, rng.getrandbits(62)))
                except ValueError:
                    if number > 1 or len(line) != 2:  # the first may be a heading
                        raise SettingsError(f"{path}, line {number}: write SECONDS,PROMPT, not {line}") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    if not due:
        raise SettingsError(f"{path} holds no request")
    return sorted(due, key=lambda one: one.at)


def impatient(due: Sequence[Due], share: float, longest: float, rng: random.Random) -> list[Due]:
    """The same, a share of the callers hanging up at a random moment within `longest` seconds."""
    return [
        Due(one.at, one.text, one.seed, one.tenant, rng.uniform(0, longest) if rng.random() < share else one.patience)
        for one in due
    ]


async def play(motet: Motet, due: Sequence[Due], timeout: float | None = None) -> list[Heard]:
    """Send each request when it is due; what came of each, in the same order."""
    begun = now()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_play(motet, one, begun, timeout)) for one in due]
    return [task.result() for task in tasks]


async def _play(motet: Motet, due: Due, begun: float, timeout: float | None) -> Heard:
    heard = Heard(begun + due.at)
    await asyncio.sleep(max(0.0, heard.due - now()))
    turns = (Message("user", (due.text,)),)
    request = GenerationRequest(turns, seed=due.seed, timeout=timeout, tenant=due.tenant)
    if due.patience is None:
        return await listen(motet, request, heard)
    with suppress(TimeoutError):
        async with asyncio.timeout(due.patience):
            await listen(motet, request, heard)
            return heard
    heard.hung_up = due.patience
    return heard
