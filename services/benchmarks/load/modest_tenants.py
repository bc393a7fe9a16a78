"""Several tenants that send requests at a modest rate, each over a connection of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from types import TracebackType
from typing import Any, Self

from motet.client import Client
from motet.core.clock import now
from motet.core.errors import MotetError, Reason
from services.benchmarks.load.call_outcomes import CallOutcomes
from services.benchmarks.load.client_trace import ClientTrace, text_request, trace_request
from services.benchmarks.load.open_loop import ScheduledRequest

_SEEDS = 10**6
"""Number of seeds of one load. A request with the text and the seed of an earlier one would be a cache hit."""


class ModestTenants:
    """The clients of tenants, by name, and their requests. No request of two loads has the same seed.

    `keys` are the API keys by tenant, `texts` the prompts, which all tenants use in turn.
    """

    def __init__(self, address: str, keys: Mapping[str, str], texts: Sequence[str]) -> None:
        self._address = address
        self._keys = keys
        self._texts = texts
        self._clients: dict[str, Client] = {}
        self._stack = AsyncExitStack()
        self._loads = 0

    async def __aenter__(self) -> Self:
        """Connect, and send a first request of each tenant."""
        for name, key in self._keys.items():
            self._clients[name] = await self._stack.enter_async_context(Client(self._address, api_key=key))
        await self.send([ScheduledRequest(0.0, self._texts[0], 0, name) for name in self._keys])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def send(self, requests: Sequence[ScheduledRequest]) -> list[ClientTrace]:
        """Send each request when it is due. Return the traces in the order of the requests."""
        first_seed, start = self._next_seeds(), now()
        return await asyncio.gather(*(self._send(request, start, first_seed) for request in requests))

    async def send_until(
        self, rate: float, seed: int, end: asyncio.Task[Any]
    ) -> tuple[list[ScheduledRequest], list[ClientTrace]]:
        """Send `rate` requests a second, at random times, until the task `end` is done. Return them and their traces.

        At least one request is sent.
        """
        first_seed, start = self._next_seeds(), now()
        sent: list[ScheduledRequest] = []
        tasks = []
        for request in self._arrivals(rate, seed):
            if sent:
                await asyncio.wait({end}, timeout=max(0.0, start + request.at - now()))
                if end.done():
                    break
            sent.append(request)
            tasks.append(asyncio.create_task(self._send(request, start, first_seed)))
        return sent, await asyncio.gather(*tasks)

    def _arrivals(self, rate: float, seed: int) -> Iterator[ScheduledRequest]:
        rng, at = random.Random(seed), 0.0
        # Neither number divides the other, so each tenant sends each text.
        for number, (tenant, text) in enumerate(zip(cycle(self._keys), cycle(self._texts), strict=False)):
            at += rng.expovariate(rate)
            yield ScheduledRequest(at, text, number, tenant)

    async def _send(self, request: ScheduledRequest, start: float, first_seed: int) -> ClientTrace:
        trace = ClientTrace(start + request.at)
        await asyncio.sleep(max(0.0, trace.due - now()))
        generation_request = text_request(request.text, first_seed + request.seed)
        return await trace_request(self._clients[request.tenant], generation_request, trace)

    def _next_seeds(self) -> int:
        self._loads += 1
        return self._loads * _SEEDS


def outcomes_of_traces(traces: Sequence[ClientTrace]) -> CallOutcomes:
    """Return the outcomes of requests, as their callers saw them."""
    outcomes = CallOutcomes()
    for trace in traces:
        outcomes.generations += trace.accepted
        if trace.succeeded:
            outcomes.call("Generate")
            outcomes.requests["succeeded"] += 1
        else:
            error = MotetError("", Reason(trace.error_reason or Reason.INTERNAL))
            outcomes.call("Generate", error)
            outcomes.refuse(error)
    return outcomes
