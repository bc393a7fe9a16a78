"""Client calls that are always cancelled when the code that opened them is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc.aio

from motet.core.closing import close
from motet.core.logs.request_id import checked_request_id, current_request_id
from motet.core.tracing.span import current_span
from motet.scheduling.shared_timer import SharedTimer
from motet.transport.status import error_from_rpc, is_write_failure

Response_co = TypeVar("Response_co", covariant=True)

_END_TIMEOUT = 1.0
"""Seconds after the final message until a call without a status trailer is cancelled."""

_STATUS_TIMEOUT = 1.0
"""Seconds after a failed write until a call is an error although its peer sent no status."""


class StreamCall(Protocol[Response_co]):
    """A call whose response is a stream."""

    def __aiter__(self) -> AsyncIterator[Response_co]: ...

    def cancel(self) -> bool: ...


REQUEST_ID_KEY = "x-request-id"
"""The metadata key of a request's id."""

Metadata = tuple[tuple[str, str], ...]


def request_metadata() -> Metadata:
    """Return the metadata that a call to a worker sends: the id of the current request and its trace, if it has one."""
    request_id, trace = current_request_id(), current_span().context
    metadata = ((REQUEST_ID_KEY, request_id),) if request_id else ()
    return metadata if trace is None else metadata + trace.metadata


def request_id_of(metadata: Iterable[tuple[str, Any]]) -> str:
    """Return the id of a request from the metadata of its call, or a new one."""
    given = next((value for key, value in metadata if key == REQUEST_ID_KEY), "")
    return checked_request_id(given if isinstance(given, str) else "")


EndTimer = SharedTimer[StreamCall[Any]]
"""The timer of calls whose final message arrived: it cancels those without a status trailer."""


def end_timer() -> EndTimer:
    """Return a timer for the calls of one client."""
    return SharedTimer(_END_TIMEOUT, lambda call: call.cancel())


class UnaryCall(Protocol[Response_co]):
    """A call with one response."""

    def __await__(self) -> Generator[Any, None, Response_co]: ...

    def cancel(self) -> bool: ...


class _PeerStatus:
    """The status that the peer of a call sent.

    If a call with a stream of requests ends during a write, grpc.aio replaces the status of the peer by its own
    (grpc#36066). A replica that refuses a call because it is busy would then count as a lost one.
    """

    def __init__(self, call: object) -> None:
        self._error: asyncio.Future[grpc.aio.AioRpcError] | None = None
        if isinstance(call, grpc.aio.StreamUnaryCall | grpc.aio.StreamStreamCall):
            self._error = asyncio.get_running_loop().create_future()
            call.add_done_callback(self._keep)

    async def instead_of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the error that the peer sent if `error` is that of a failed write. Otherwise return `error`."""
        if self._error is not None and is_write_failure(error):
            with suppress(TimeoutError):
                async with asyncio.timeout(_STATUS_TIMEOUT):
                    return await self._error
        return error

    def _keep(self, call: Any) -> None:
        """Keep the status of a call. gRPC calls this for each status, before a later one replaces it."""
        error = grpc.aio.AioRpcError(
            _result(call.code()),
            _result(call.initial_metadata()),
            _result(call.trailing_metadata()),
            _result(call.details()),
            _result(call.debug_error_string()),
        )
        assert self._error is not None
        if error.code() is not grpc.StatusCode.OK and not is_write_failure(error) and not self._error.done():
            self._error.set_result(error)


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that waits for nothing, as those of a call do after its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the call has not ended")


class open_stream(Generic[Response_co]):  # noqa: N801 - it reads as a verb: `async with open_stream(call) as responses`
    """Iterate the responses of a call with `async with open_stream(stub.Call(request)) as responses`.

    The call is cancelled on exit: grpc.aio may never cancel a call that is merely dropped (grpc#43462), and its worker
    would continue for nothing. Cancelling a call that has ended has no effect. After `expect_end` the call may end by
    itself. A failed call raises the `MotetError` of its status; `peer` names the other side in the message, and
    `request_id` is the id that the call sends.
    """

    def __init__(self, call: StreamCall[Response_co], peer: str = "the service", request_id: str = "") -> None:
        self._call = call
        self._status = _PeerStatus(call)
        self._peer = peer
        self._request_id = request_id
        self._received = False
        self._end_timer: EndTimer | None = None

    def expect_end(self, timer: EndTimer) -> None:
        """The final message arrived. Do not wait for the status trailer, and leave the cancellation to `timer`.

        The trailer is one more message. A cancellation that overtakes it would be counted as one on the other side.
        """
        self._end_timer = timer

    async def __aenter__(self) -> Self:
        self._responses = self._call.__aiter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The iterator and the call refer to each other. Closing the iterator leaves no reference cycle.
        await close(self._responses)
        try:
            if isinstance(error, grpc.aio.AioRpcError):
                sent = await self._status.instead_of(error)
                raise error_from_rpc(
                    sent, received=self._received, peer=self._peer, request_id=self._request_id
                ) from None
        finally:
            if self._end_timer is None:
                self._call.cancel()
            else:
                self._end_timer.add(self._call)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Response_co:
        response = await anext(self._responses)
        self._received = True
        return response


async def unary(call: UnaryCall[Response_co], peer: str = "the service", request_id: str = "") -> Response_co:
    """Return the response of a call with one response. Errors and cancellation are handled as by `open_stream`."""
    status = _PeerStatus(call)
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(await status.instead_of(error), peer=peer, request_id=request_id) from None
    finally:
        call.cancel()
