"""The health of a server's services, as it changes while the server runs."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from motet.core.clock import now
from motet.core.errors import OverloadedError
from motet.core.telemetry.families.process_metrics import HEALTH_SERVING

Readiness = Callable[[], Mapping[str, bool]]
"""Returns whether the services with these names can serve calls now."""

LIVENESS = "liveness"
"""The name whose health is SERVING while the process answers: while workers are away, and also during a drain.

A process whose liveness is not reported must be restarted. All other names tell whether calls can be served.
"""

MIN_OUTAGE = 5.0
"""Minimum time from NOT_SERVING to SERVING of one name, in seconds, so that a flapping worker is no flapping health."""

INTERVAL = 0.5
"""Interval between two calls of the readiness, in seconds. A call costs nothing."""

MAX_WATCHES = 16
"""Maximum number of running calls of `Watch` from one connection. A client of gRPC has one for each channel."""


class HealthServicer(health.HealthServicer):  # type: ignore[misc]  # grpc_health has no types.
    """The health service of grpc, with another `Watch`, with metrics, and with a liveness that a drain does not end.

    The library's `Watch` holds a lock of all watchers while it sends a response. With that lock, one watcher that reads
    nothing keeps the health of the process from changing. Each connection may have `MAX_WATCHES` watches. They are not
    counted for all connections together, because the service is open to everyone, and would then refuse the watches of
    others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gracefully_shutting_down = False
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

    async def enter_graceful_shutdown(self) -> None:
        """Set all names except `LIVENESS` to NOT_SERVING. Later changes have no effect."""
        if not self._gracefully_shutting_down:
            self._gracefully_shutting_down = True
            for name in [name for name in self._server_status if name != LIVENESS]:
                await self._set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    def is_serving(self, name: str) -> bool | None:
        """Return whether the health of a name is SERVING, or None if the name is unknown."""
        status = self._server_status.get(name)
        return None if status is None else status == health_pb2.HealthCheckResponse.SERVING

    async def _set(self, name: str, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        HEALTH_SERVING.labels(name).set(status == health_pb2.HealthCheckResponse.SERVING)
        await super()._set(name, status)

    def _status_of(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        return self._server_status.get(name, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class HealthReporter:
    """Reports SERVING for each of `names` and for `LIVENESS`, and for the names in `readiness` what it returns.

    NOT_SERVING is reported within `INTERVAL` seconds. A name that was reported as NOT_SERVING after SERVING is
    reported as SERVING at the earliest `min_outage` seconds later, so each name has at most two changes in that time.
    After `servicer.enter_graceful_shutdown`, reports have no effect.
    """

    def __init__(
        self, servicer: HealthServicer, names: Iterable[str], readiness: Readiness, min_outage: float = MIN_OUTAGE
    ) -> None:
        self._servicer = servicer
        self._readiness = readiness
        self._min_outage = min_outage
        self._names = (LIVENESS, *names)
        self._reported: dict[str, bool] = {}
        self._lost_at: dict[str, float] = {}
        """The time at which a name changed from SERVING to NOT_SERVING, on the event loop's clock."""
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
            await asyncio.sleep(INTERVAL)
            await self._report()

    async def _report(self) -> None:
        moment = now()
        for name, serving in {**dict.fromkeys(self._names, True), **self._readiness()}.items():
            before = self._reported.get(name)
            if before is serving or (serving and moment < self._lost_at.get(name, -math.inf) + self._min_outage):
                continue
            if before:
                self._lost_at[name] = moment
            self._reported[name] = serving
            status = health_pb2.HealthCheckResponse
            await self._servicer.set(name, status.SERVING if serving else status.NOT_SERVING)
