"""A channel of gRPC whose calls Ray Serve carries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
import grpc.aio

from motet.core.deadline import Deadline
from motet.transport.client_call import Metadata, request_metadata
from motet.transport.ray.call import RayCall, RayResponses


class Handle(Protocol):
    """The handle of a deployment whose replicas answer calls with `ServedMethods`."""

    def remote(self, method: str, requests: list[bytes], seconds: float | None, metadata: Metadata) -> RayResponses:
        """Start a call at one of the replicas. `metadata` is that of a call of gRPC."""
        ...


class RayChannel(grpc.aio.Channel):
    """A channel to the replicas of one deployment of Ray Serve, which selects the replica of each call.

    So the clients of workers are those of gRPC, with the same messages, checks and errors. A call keeps its deadline,
    and cancelling it stops the worker. The requests of a stream are sent together, when the call begins.
    """

    def __init__(self, handle: Handle, peer: str) -> None:
        self._handle = handle
        self._peer = peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Do nothing: the connections belong to Ray."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return READY: Ray queues calls until a replica is there."""
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Do nothing: there is one state."""

    async def channel_ready(self) -> None:
        """Do nothing: calls may start at any time."""

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return a method with one request and one response."""
        return self._method(_one, method, *arguments, **options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return a method with one request and a stream of responses."""
        return self._method(_one, method, *arguments, **options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return a method with a stream of requests and one response."""
        return self._method(_each, method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Return a method with a stream of requests and a stream of responses."""
        return self._method(_each, method, *arguments, **options)

    def _method(
        self,
        serialized: Callable[[Any, Callable[[Any], bytes]], AsyncIterator[bytes]],
        method: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **options: Any,
    ) -> Callable[..., RayCall[Any]]:
        def call(request: Any, timeout: float | None = None, **options_of_call: Any) -> RayCall[Any]:
            metadata = request_metadata()

            def start(requests: list[bytes], seconds: float | None) -> RayResponses:
                return self._handle.remote(method, requests, seconds, metadata)

            deadline = Deadline.never() if timeout is None else Deadline.after(timeout)
            return RayCall(start, serialized(request, request_serializer), response_deserializer, deadline, self._peer)

        return call


async def _one(request: Any, serialize: Callable[[Any], bytes]) -> AsyncIterator[bytes]:
    yield serialize(request)


async def _each(
    requests: AsyncIterator[Any] | Iterable[Any], serialize: Callable[[Any], bytes]
) -> AsyncIterator[bytes]:
    if isinstance(requests, AsyncIterator):
        async for request in requests:
            yield serialize(request)
    else:
        for request in requests:
            yield serialize(request)
