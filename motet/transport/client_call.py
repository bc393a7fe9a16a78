"""Every client call runs inside a guard, so that no call outlives the code that made it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc.aio

from motet.core.closing import close
from motet.transport.status import error_from_rpc

Response_co = TypeVar("Response_co", covariant=True)

_LINGER = 1.0
"""Seconds in which a call that has said its last word may end by itself."""


class StreamCall(Protocol[Response_co]):
    """A call that answers with a stream."""

    def __aiter__(self) -> AsyncIterator[Response_co]: ...

    def cancel(self) -> bool: ...


class UnaryCall(Protocol[Response_co]):
    """A call that answers once."""

    def __await__(self) -> Generator[Any, None, Response_co]: ...

    def cancel(self) -> bool: ...


class open_stream(Generic[Response_co]):  # noqa: N801 - it reads as a verb: `async with guarded(call) as responses`
    """`async with guarded(stub.Call(request)) as responses:` iterates a call's responses and cancels it on exit.

    A call that is merely dropped may never be cancelled (grpc#43462), and its worker would go on for nobody. Cancelling
    one that is over does nothing; one that has said its last word, see `conclude`, may end by itself. A failed call
    raises the `MotetError` it tells; `whom` names the other side in it.
    """

    def __init__(self, call: StreamCall[Response_co], whom: str = "the service") -> None:
        self._call = call
        self._whom = whom
        self._received = False
        self._concluded = False

    def conclude(self) -> None:
        """The last word was said: nobody waits for the call's status, and nothing is left to cancel on exit.

        Its end takes a message more, and a cancellation that arrives before it would count as one on the other side.
        """
        self._concluded = True

    async def __aenter__(self) -> Self:
        self._responses = self._call.__aiter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await close(self._responses)  # they and the call hold each other, and garbage would be left of both
        if self._concluded:
            asyncio.get_running_loop().call_later(_LINGER, self._call.cancel)
        else:
            self._call.cancel()
        if isinstance(error, grpc.aio.AioRpcError):
            raise error_from_rpc(error, received=self._received, whom=self._whom) from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Response_co:
        response = await anext(self._responses)
        self._received = True
        return response


async def unary(call: UnaryCall[Response_co], whom: str = "the service") -> Response_co:
    """The one response of a call, guarded as a stream is."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error, whom=whom) from None
    finally:
        call.cancel()
