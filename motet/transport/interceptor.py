"""What every call passes on its way in and out: admission, validation, errors as statuses, metrics.

With it a servicer's method is three lines: translate, call, translate.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.metrics import CALL_SECONDS, labelled
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.status import CODE_OF, abort, public_error
from motet.transport.validation import lenient, validate

OWN = "/motet."
"""How the paths of Motet's methods begin; others, such as health, are left as they are."""

OBSERVING = frozenset(
    {
        "CancelGeneration",
        "DeleteArtifact",
        "DownloadArtifact",
        "Drain",
        "GetGeneration",
        "GetModel",
        "ListGenerations",
        "ListModels",
        "WatchCapacity",
        "WatchGeneration",
    }
)
"""Methods that ask for no new work. They are neither counted nor refused, so that a full or draining process tells."""

_FREELY = nullcontext()

if TYPE_CHECKING:
    _Context = grpc.aio.ServicerContext[Any, Any]
    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]


def deadline_of(context: _Context) -> Deadline:
    """What the caller allows, as seconds that remain here."""
    remaining = context.time_remaining()
    return Deadline.never() if remaining is None else Deadline.after(remaining)


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Stands before every servicer of a server."""

    def __init__(self, gate: ConcurrencyLimiter) -> None:
        self._gate = gate
        self._handlers: dict[str, _Handler] = {}
        """Those that were asked for, by method."""
        self._leaving = 0
        self._nobody: asyncio.Event | None = None
        """Set when nobody is leaving any more; there when somebody waits for that."""

    async def empty(self, seconds: float) -> None:
        """Wait, so many seconds at most, until the answers of all calls that are over have been sent to their ends."""
        if self._leaving:
            self._nobody = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._nobody.wait()

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler | None:
        """The method's handler, with the edge around it."""
        method = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler: Any = await continuation(handler_call_details)
        if handler is None or not method.startswith(OWN):
            return handler  # type: ignore[no-any-return]
        wrap, make = _SHAPES[bool(handler.request_streaming), bool(handler.response_streaming)]
        behaviour = self._passing(method, wrap(self, method, _behaviour_of(handler)))
        edged = make(behaviour, lenient(handler.request_deserializer), handler.response_serializer)
        return self._handlers.setdefault(method, edged)

    def _passing(self, method: str, handle: Any) -> Any:
        """The method with what every call needs around it: errors become statuses, and it is counted."""

        async def passing(request: Any, context: _Context) -> Any:
            started = now()
            code = "OK"
            try:
                return await handle(request, context)
            except asyncio.CancelledError:
                # Swallowing a cancellation leaks the call.
                code = "CANCELLED"
                raise
            except Exception as error:
                told = public_error(error)
                code = CODE_OF[told.reason].name
                await abort(context, told)
            finally:
                labelled(CALL_SECONDS, method, code).observe(now() - started)
                self._leave()

        return passing

    def _leave(self) -> None:
        """A call is over, but for the end of its answer, which gRPC has yet to send: its task does that last."""
        self._leaving += 1
        # The context could call back, too, and would be garbage then: what it keeps refers to it.
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[Any]) -> None:
        self._leaving -= 1
        if not self._leaving and self._nobody is not None:
            self._nobody.set()

    def _admitted(self, method: str) -> AbstractAsyncContextManager[None]:
        return _FREELY if method.rpartition("/")[2] in OBSERVING else self._gate.admitted()

    def _unary(self, method: str, behaviour: Any) -> Any:
        async def unary(request: Any, context: _Context) -> Any:
            validate(request)
            async with self._admitted(method):
                return await behaviour(request, context)

        return unary

    def _collecting(self, method: str, behaviour: Any) -> Any:
        async def collecting(requests: Any, context: _Context) -> Any:
            async with self._admitted(method):
                return await behaviour(_validated(requests), context)

        return collecting

    def _streaming(self, method: str, behaviour: Any) -> Any:
        # It writes rather than yields: a cancellation then arrives here, and closes the servicer's generator before
        # the call is over, not whenever the generator is collected.
        async def streaming(request: Any, context: _Context) -> None:
            validate(request)
            async with self._admitted(method), aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

        return streaming

    def _conversing(self, method: str, behaviour: Any) -> Any:
        async def conversing(requests: Any, context: _Context) -> None:
            async with self._admitted(method), aclosing(behaviour(_validated(requests), context)) as responses:
                async for response in responses:
                    await context.write(response)

        return conversing


async def _validated(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        validate(request)
        yield request


def _behaviour_of(handler: Any) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


_SHAPES: dict[tuple[bool, bool], tuple[Any, Any]] = {
    (False, False): (ServerInterceptor._unary, grpc.unary_unary_rpc_method_handler),
    (True, False): (ServerInterceptor._collecting, grpc.stream_unary_rpc_method_handler),
    (False, True): (ServerInterceptor._streaming, grpc.unary_stream_rpc_method_handler),
    (True, True): (ServerInterceptor._conversing, grpc.stream_stream_rpc_method_handler),
}
