"""The servicer of any worker's load and drain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc.aio

from motet.internal.v1 import worker_service_pb2 as pb
from motet.internal.v1 import worker_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.concurrency_limiter import ConcurrencyLimiter

MAX_BUFFERED_BYTES = 64 * 2**10
"""Maximum size of a stream's buffer for a slow reader, in bytes, besides gRPC's own. The worker waits at this size."""

EVENT_BYTES = 64
"""Estimated size of an event without text and data, in bytes."""


class CapacityServicer(pb_grpc.WorkerServiceServicer):
    """The servicer of a worker's concurrency limiter. `bundle_digest` identifies the worker's bundle."""

    name = pb.DESCRIPTOR.services_by_name["WorkerService"].full_name

    def __init__(self, limiter: ConcurrencyLimiter, bundle_digest: str = "") -> None:
        self._limiter = limiter
        self._bundle_digest = bundle_digest

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_WorkerServiceServicer_to_server(self, server)

    async def WatchCapacity(
        self, request: pb.WatchCapacityRequest, context: Any
    ) -> AsyncIterator[pb.WatchCapacityResponse]:
        """Yield the load at once, after each change, and at intervals."""
        async with aclosing(self._limiter.watch()) as loads:
            async for load in loads:
                yield convert.load_to_proto(replace(load, bundle_digest=self._bundle_digest))

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        """Refuse new calls and wait for the running calls."""
        grace = convert.duration_from_proto(request.grace) if request.HasField("grace") else None
        return pb.DrainResponse(remaining=await self._limiter.drain(grace))
