"""One call to a worker that Ray Serve runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError, FaultError, MotetError
from motet.transport.ray.failure import Failure

Response = TypeVar("Response")


class RayResponses(Protocol):
    """The responses of a call, such as Ray's `DeploymentResponseGenerator`."""

    def __aiter__(self) -> AsyncIterator[bytes | Failure]: ...

    def cancel(self) -> None: ...


Start = Callable[[list[bytes], float | None], RayResponses]
"""Starts a call with its serialized requests and its remaining time in seconds."""


class RayCall(Generic[Response]):
    """A call with the interface that `open_stream` and `unary` need of a call of gRPC. It starts when it is read.

    All requests are sent at once, at the start. `peer` names the worker in messages.
    """

    def __init__(
        self,
        start: Start,
        requests: AsyncIterator[bytes],
        deserialize: Callable[[bytes], Response],
        deadline: Deadline,
        peer: str,
    ) -> None:
        self._start = start
        self._requests = requests
        self._deserialize = deserialize
        self._deadline = deadline
        self._peer = peer
        self._responses: RayResponses | None = None

    def __aiter__(self) -> AsyncGenerator[Response, None]:
        return self._read()

    def __await__(self) -> Generator[Any, None, Response]:
        return self._only().__await__()

    async def initial_metadata(self) -> tuple[()]:
        """Return nothing at once: all requests are sent before the worker accepts the call."""
        return ()

    def cancel(self) -> bool:
        """Stop the worker. Do nothing if the call has ended or has not started."""
        responses, self._responses = self._responses, None
        if responses is not None:
            responses.cancel()
        return responses is not None

    async def _only(self) -> Response:
        async for response in self._read():
            return response
        raise FaultError(f"{self._peer} ended a call without a response")

    async def _read(self) -> AsyncGenerator[Response, None]:
        requests = [request async for request in self._requests]
        received = False
        responses = self._responses = self._start(requests, self._deadline.remaining())
        items = aiter(responses)
        while True:
            try:
                async with asyncio.timeout_at(self._deadline.at):
                    item = await anext(items)
            except StopAsyncIteration:
                self._responses = None
                return
            except TimeoutError:
                raise DeadlineError(f"{self._peer} did not respond in time; allow more time or request less") from None
            except MotetError:
                raise
            except Exception as error:
                # Ray is imported only where it is used.
                from motet.transport.ray.errors import error_of_ray

                raise error_of_ray(error, self._peer, received) from None
            if isinstance(item, Failure):
                self._responses = None
                raise item.error
            received = True
            yield self._deserialize(item)
