"""One process of a greedy tenant: it sends requests as fast as it can, and counts their outcomes.

`python -m services.benchmarks.load.greedy_tenant CONFIG` connects, prints a line, waits for a line, sends all requests,
and prints the outcomes as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Self, TypeVar

import numpy as np

from motet.client import Client
from motet.core.closing import closing
from motet.core.errors import MotetError, Reason
from motet.core.events import Accepted, Done, Event, Generation, State
from motet.core.media import Media
from motet.core.request import Content, GenerationRequest, Message
from motet.media.encode import encode_picture
from motet.transport.server import freeze_garbage_collector
from services.benchmarks.load.call_outcomes import CallOutcomes
from services.exit_codes import Exit

_POLL_INTERVAL = 0.1
"""Seconds between two checks whether a detached generation has ended."""

Response = TypeVar("Response")


@dataclass(frozen=True, slots=True)
class GreedyConfig:
    """The load of one process: `requests` requests over `connections` connections with `calls` calls at a time each.

    `texts` are prompts, used in turn. Requests have seeds from `first_seed` on. `niceness` is that of the process.
    """

    address: str
    api_key: str
    requests: int
    connections: int
    calls: int
    texts: tuple[str, ...]
    first_seed: int = 0
    niceness: int = 0

    def as_argument(self) -> str:
        """Return the configuration as one argument of the command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the configuration of `as_argument`."""
        values = json.loads(argument)
        return cls(**values | {"texts": tuple(values["texts"])})


class GreedyTenant:
    """The requests of a greedy tenant: most generate media, and others attach media, upload, watch, detach and cancel.

    No request is repeated, and no refusal is followed by a pause. `picture` is attached and uploaded.
    """

    def __init__(self, config: GreedyConfig, picture: Media) -> None:
        self.outcomes = CallOutcomes()
        self._config = config
        self._texts = cycle(config.texts)
        self._seeds = iter(range(config.first_seed, config.first_seed + config.requests))
        self._accepted: deque[str] = deque(maxlen=100)
        self._detached: list[str] = []
        self._picture = picture

    async def send_all(self, clients: Sequence[Client]) -> CallOutcomes:
        """Send all requests, and wait until the detached generations have ended. Return the outcomes."""
        kinds = [self._generate] * 12 + [self._attach, self._upload, self._upload, self._watch, self._watch]
        kinds += [self._detach, self._cancel, self._leave]
        sends = iter(zip(cycle(kinds), self._seeds, strict=False))

        async def send(client: Client) -> None:
            for kind, seed in sends:
                await kind(client, seed)

        async with asyncio.TaskGroup() as group:
            for client in clients:
                for _ in range(self._config.calls):
                    group.create_task(send(client))
        for name in self._detached:
            await self._wait_ended(clients[0], name)
        return self.outcomes

    async def _generate(self, client: Client, seed: int) -> None:
        async for _ in self._events("Generate", client.generate(self._request(seed))):
            pass

    async def _attach(self, client: Client, seed: int) -> None:
        async for _ in self._events("Generate", client.generate(self._request(seed, self._picture))):
            pass

    async def _upload(self, client: Client, seed: int) -> None:
        # No two uploads have equal bytes.
        data = self._picture.data + seed.to_bytes(8, "big")
        await self._send("UploadArtifact", client.upload(Media(self._picture.media_type, data)))

    async def _watch(self, client: Client, seed: int) -> None:
        if not self._accepted:
            await self._send("ListGenerations", client.generations(10))
            return
        async for _ in self._events("WatchGeneration", client.watch(self._accepted[-1])):
            pass

    async def _detach(self, client: Client, seed: int) -> None:
        request = self._request(seed, detach=True)
        async with aclosing(self._events("Generate", client.generate(request))) as events:
            async for event in events:
                if isinstance(event.payload, Accepted):
                    self._detached.append(event.payload.generation)
                    break

    async def _cancel(self, client: Client, seed: int) -> None:
        async for event in self._events("Generate", client.generate(self._request(seed))):
            if isinstance(event.payload, Accepted):
                await self._call("CancelGeneration", client.cancel(event.payload.generation))

    async def _leave(self, client: Client, seed: int) -> None:
        async with aclosing(self._events("Generate", client.generate(self._request(seed)))) as events:
            async for _ in events:
                self.outcomes.requests["cancelled"] += 1
                break

    async def _events(self, method: str, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        """Yield the events of a call, and count its outcome. If the reader stops, the call is counted as left."""
        ended = False
        try:
            async with closing(events):
                async for event in events:
                    match event.payload:
                        case Accepted(generation) if method == "Generate":
                            self.outcomes.generations += 1
                            self._accepted.append(generation)
                        case Done(generation):
                            ended = True
                            error = _error_of(generation)
                            # A watcher's call is OK, also if the generation failed.
                            self.outcomes.call(method, error if method == "Generate" else None)
                            self._end(generation if method == "Generate" else None)
                    yield event
        except MotetError as error:
            ended = True
            self.outcomes.call(method, error)
            self.outcomes.refuse(error)
        finally:
            if not ended:
                self.outcomes.left[method] += 1

    def _end(self, generation: Generation | None) -> None:
        """Count the outcome of a generation that ended, or of a call that only watched it, if it is None."""
        error = None if generation is None else _error_of(generation)
        if error is None:
            self.outcomes.requests["succeeded"] += 1
        else:
            self.outcomes.refuse(error)

    async def _send(self, method: str, call: Awaitable[Response]) -> Response | None:
        """Return the response of a request with one call, and count both. Return None if the call fails."""
        response, error = await self._call(method, call)
        if error is None:
            self.outcomes.requests["succeeded"] += 1
        else:
            self.outcomes.refuse(error)
        return response

    async def _call(self, method: str, call: Awaitable[Response]) -> tuple[Response | None, MotetError | None]:
        """Return the response of a call that is a part of a request, or its error."""
        try:
            response, error = await call, None
        except MotetError as failure:
            response, error = None, failure
        self.outcomes.call(method, error)
        return response, error

    async def _wait_ended(self, client: Client, name: str) -> None:
        while True:
            generation, error = await self._call("GetGeneration", client.get(name))
            if generation is None or generation.state is not State.RUNNING:
                self.outcomes.refuse(error) if error else self._end(generation)
                return
            await asyncio.sleep(_POLL_INTERVAL)

    def _request(self, seed: int, *media: Content, detach: bool = False) -> GenerationRequest:
        return GenerationRequest((Message("user", (next(self._texts), *media)),), seed=seed, detach=detach)


def _error_of(generation: Generation) -> MotetError | None:
    if generation.state in (State.SUCCEEDED, State.PARTIAL):
        return None
    return generation.error or MotetError("the generation failed without an error", Reason.INTERNAL)


async def _run(config: GreedyConfig) -> CallOutcomes:
    tenant = GreedyTenant(config, encode_picture(np.zeros((64, 64, 3), np.uint8)))
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(config.address, api_key=config.api_key))
            for _ in range(config.connections)
        ]
        for client in clients:
            await client.models()  # connects
        freeze_garbage_collector()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return await tenant.send_all(clients)


def main() -> Exit:
    """Send the requests of the command line's configuration, and print the outcomes."""
    config = GreedyConfig.from_argument(sys.argv[1])
    os.nice(config.niceness)
    outcomes = asyncio.run(_run(config))
    print(json.dumps(outcomes.as_dict()), flush=True)
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
