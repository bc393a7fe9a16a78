"""Answers for any worker how busy it is, and drains it."""

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

ROOM = 64 * 2**10
"""Bytes of a stream that wait for a caller who reads slowly, beside those that gRPC holds; then the worker waits."""

LEAST = 64
"""Bytes that any event takes."""


class CapacityServicer(pb_grpc.WorkerServiceServicer):
    """Serves the limiter of a worker. `bundle_digest` names what the worker serves."""

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
        """The load at once, after each change, and now and then."""
        async with aclosing(self._limiter.watch()) as loads:
            async for load in loads:
                yield convert.load_to_proto(replace(load, bundle_digest=self._bundle_digest))

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        """Close the limiter and wait."""
        grace = convert.duration_from_proto(request.grace) if request.HasField("grace") else None
        return pb.DrainResponse(remaining=await self._limiter.drain(grace))
