"""The health of a server's services, as it changes while the server runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from motet.core.errors import OverloadedError

Readiness = Callable[[], Mapping[str, bool]]
"""Returns whether the services with these names can serve calls now."""

_INTERVAL = 0.5
"""Seconds between two looks at the readiness. A call costs nothing."""


MAX_WATCHES = 16
"""Maximum number of running calls of `Watch` from one connection. A client of gRPC has one for each channel."""


class HealthServicer(health.HealthServicer):  # type: ignore[misc]  # grpc_health has no types.
    """The health service of grpc, except `Watch`, which holds a lock of all watchers while it sends a response.

    With that lock, one watcher that reads nothing keeps the health of the process from changing. Each connection may
    have `MAX_WATCHES` watches. They are not counted for all connections together, because the service is open to
    everyone, and would then refuse the watches of others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watches_of: Counter[str] = Counter()
        """The number of watches of each connection that has one."""

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Send the present status of a service, and all later changes. Raises `OverloadedError`."""
        name, sent = request.service, None
        if self._watches_of[peer := context.peer()] >= MAX_WATCHES:
            raise OverloadedError(
                f"this connection has {MAX_WATCHES} watches of the health; end one, or use the method Check",
                metadata={"limit": str(MAX_WATCHES)},
            )
        condition = self._server_watchers[name]
        self._watcher_count_by_service[name] += 1
        self._watches_of[peer] += 1
        try:
            while True:
                async with condition:
                    while (status := self._status_of(name)) == sent:
                        await condition.wait()
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
        finally:
            self._watches_of[peer] -= 1
            if not self._watches_of[peer]:
                del self._watches_of[peer]
            self._watcher_count_by_service[name] -= 1
            if not self._watcher_count_by_service[name]:
                del self._server_watchers[name], self._watcher_count_by_service[name]

    def _status_of(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        return self._server_status.get(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class HealthReporter:
    """Reports SERVING for each of `names`, and for the names in the mapping of `readiness` what it says.

    After `servicer.enter_graceful_shutdown`, reports have no effect.
    """

    def __init__(self, servicer: HealthServicer, names: Iterable[str], readiness: Readiness) -> None:
        self._servicer = servicer
        self._readiness = readiness
        self._names = tuple(names)
        self._reported: dict[str, bool] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Report the present health, and all later changes until `stop`."""
        await self._report()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop the reports."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            await self._report()

    async def _report(self) -> None:
        for name, serving in {**dict.fromkeys(self._names, True), **self._readiness()}.items():
            if self._reported.get(name) is not serving:
                self._reported[name] = serving
                status = health_pb2.HealthCheckResponse
                await self._servicer.set(name, status.SERVING if serving else status.NOT_SERVING)
