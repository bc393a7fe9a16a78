"""KEDA's client, made from its proto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from motet.core.errors import MotetError
from motet.internal.externalscaler import externalscaler_pb2 as scaler_pb
from motet.internal.externalscaler.externalscaler_pb2_grpc import ExternalScalerStub
from motet.transport.channel import open_channel
from motet.transport.status import error_from_rpc


def ref(pool: str = "image", **metadata: str) -> scaler_pb.ScaledObjectRef:
    """Return the reference that KEDA sends for a trigger with these metadata."""
    own = {"scalerAddress": "motet-orchestrator:50060", "pool": pool}
    return scaler_pb.ScaledObjectRef(name="motet-image", namespace="ai", scalerMetadata=own | metadata)


class Keda:
    """The calls of KEDA to one scaler."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub: Any = ExternalScalerStub(channel)  # type: ignore[no-untyped-call]
        self._tasks: list[asyncio.Task[None]] = []

    async def demand(self, pool: str, **metadata: str) -> float:
        """Return the metric of a pool."""
        request = scaler_pb.GetMetricsRequest(scaledObjectRef=ref(pool, **metadata), metricName="demand-seconds")
        (value,) = (await self.stub.GetMetrics(request)).metricValues
        assert value.metricValue >= value.metricValueFloat
        return float(value.metricValueFloat)

    async def active(self, pool: str) -> bool:
        """Return whether a pool is active."""
        return bool((await self.stub.IsActive(ref(pool))).result)

    def watch(self, pool: str) -> list[bool]:
        """Return the list to which the states of a pool are added as they arrive."""
        states: list[bool] = []
        call = self.stub.StreamIsActive(ref(pool))

        async def read() -> None:
            async for response in call:
                states.append(response.result)

        self._tasks.append(asyncio.create_task(read()))
        return states

    async def stop(self) -> None:
        """End the streams."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def keda_at(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Keda]:
    """Yield KEDA with a connection to a scaler."""
    async with open_channel(address, credentials, retries=False) as channel:
        keda = Keda(channel)
        try:
            yield keda
        finally:
            await keda.stop()


async def refusal(call: Any) -> MotetError:
    """Return the error of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)
