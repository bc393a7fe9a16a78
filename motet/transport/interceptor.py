"""The server interceptor of every call: its id, caller, admission, validation, errors as statuses, metrics, log line.

Because of it, a servicer's method only translates the request, calls its worker, and translates the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import MotetError, Reason, RetryableError, forget_frames
from motet.core.logs.audit import AUDIT
from motet.core.logs.call_line import log_call
from motet.core.logs.log_fields import LogFields, add_field, collected
from motet.core.logs.request_id import current_request_id, set_request_id
from motet.core.logs.tenant_hash import tenant_hash
from motet.core.telemetry.families.call_metrics import CALL_SECONDS
from motet.core.telemetry.prometheus import labelled
from motet.core.tracing.span import set_span
from motet.scheduling.call_turns import CallTurns
from motet.scheduling.shares import Shares
from motet.transport.access.authentication import ANYONE, Authentication
from motet.transport.access.authorization import OPEN, check_role, is_administrative
from motet.transport.access.current_caller import called_by, holder_of
from motet.transport.access.running_calls import RECHECK_INTERVAL, RunningCall, RunningCalls, running_call
from motet.transport.bounds.limits import CallLimits
from motet.transport.bounds.request_parser import RequestParser
from motet.transport.bounds.request_stream import bounded
from motet.transport.client_call import request_id_of
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.status import CODE_OF, abort, public_error
from motet.transport.tracing.server_span import end_server_span, parent_of, start_server_span

_OWN_PREFIXES = "/motet.", "/externalscaler."
"""Prefixes of the methods that Motet implements. Requests of other methods, which gRPC brings, are not validated."""

_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
"""A method that ends only with the server. grpc prints a traceback if a call is left at the end of the event loop."""

_UNLIMITED = frozenset(
    {
        "CancelGeneration",
        "DeleteArtifact",
        "DownloadArtifact",
        "Drain",
        "GetGeneration",
        "GetMetricSpec",
        "GetMetrics",
        "GetModel",
        "GetQuota",
        "IsActive",
        "ListGenerations",
        "ListModels",
        "ServerReflectionInfo",
        "StreamIsActive",
        "WatchCapacity",
        "WatchGeneration",
    }
)
"""Methods that start no work. The limiter does not limit them, so a full or draining process still answers them."""

_NO_LIMIT = nullcontext()

_OPEN_PER_ADMITTED = 4
"""Minimum number of open calls per call that the limiter admits. A call is also open while its response is sent."""

_INTERRUPTED = RetryableError("this process is shutting down; use another replica, or retry later", Reason.DRAINING)

_Receive = Callable[[Any], Awaitable[Any]]
"""Parses and checks a request, if it is a message of Motet."""

if TYPE_CHECKING:
    _Context = grpc.aio.ServicerContext[Any, Any]
    _Handler = grpc.RpcMethodHandler[Any, Any]
    _Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]


def deadline_of(context: _Context) -> Deadline:
    """Return the deadline of a call."""
    remaining = context.time_remaining()
    return Deadline.never() if remaining is None else Deadline.after(remaining)


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """The interceptor of a server. It wraps the methods of every servicer.

    A call is authenticated, its caller's role is checked, and it waits for its tenant's turn, before its request is
    parsed. It is authenticated again every `recheck_interval` seconds while it runs. It counts as an open call of its
    caller until its response is sent.
    """

    def __init__(
        self,
        limiter: ConcurrencyLimiter,
        authentication: Authentication = ANYONE,
        recheck_interval: float = RECHECK_INTERVAL,
        limits: CallLimits | None = None,
    ) -> None:
        self._limiter = limiter
        self._authentication = authentication
        self._limits = limits = limits or CallLimits()
        self._calls = RunningCalls(authentication, recheck_interval, limits.send_timeout)
        open_calls = max(limits.open_calls, _OPEN_PER_ADMITTED * limiter.load.limit)
        self._open_calls = Shares(open_calls, "open calls", "end calls, or read their responses, and try again")
        self._turns = CallTurns()
        self._handlers: dict[str, _Handler] = {}
        """The wrapped handlers by method, for methods that have been called."""
        self._running: set[asyncio.Task[Any]] = set()
        """The tasks of calls whose handler runs."""
        self._unsent: set[asyncio.Task[Any]] = set()
        """The tasks of calls whose response is not sent completely. The task of a call sends the response last."""
        self._interrupted = False
        self._parser = RequestParser()
        """Held while a large request is parsed, so that requests of several calls do not add up to a long silence."""

    def interrupt(self) -> None:
        """End all running calls with a retryable status, DRAINING."""
        self._interrupted = True
        for task in self._running:
            task.cancel()

    async def flush(self, seconds: float) -> None:
        """Wait up to `seconds` seconds until all responses are sent."""
        if self._unsent:
            await asyncio.wait(self._unsent, timeout=seconds)

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> _Handler | None:
        """Return the method's handler, wrapped."""
        method = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        if method == _HEALTH_WATCH:
            watch = self._observed(method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(
                watch, handler.request_deserializer, handler.response_serializer
            )
        if method in OPEN:
            return handler  # type: ignore[no-any-return]
        wrap, create = _SHAPES[bool(handler.request_streaming), bool(handler.response_streaming)]
        deserializer: Any = handler.request_deserializer
        receive: _Receive = _as_it_is
        if method.startswith(_OWN_PREFIXES):
            # The deserializer is the class's `FromString`. gRPC would report its error as a server fault.
            deserializer, receive = None, partial(self._receive, deserializer.__self__)
        behaviour = self._authorized(method, wrap(self, method, _behaviour_of(handler), receive))
        handler = create(self._observed(method, behaviour), deserializer, handler.response_serializer)
        return self._handlers.setdefault(method, handler)

    def _authorized(self, method: str, handle: Any) -> Any:
        """Wrap a method: it runs as a part of its caller's call, if the caller has a role that may call it."""

        async def authorized(request: Any, context: _Context) -> Any:
            caller = await self._authentication.caller_of(context)
            add_field("tenant", tenant_hash(caller.tenant))
            if is_administrative(method):
                AUDIT.info("an administrative call", extra={"method": method, "credential": caller.credential})
            check_role(caller, method)
            with called_by(caller), RunningCall(self._calls, method, context, caller):
                if caller.tenant:
                    await self._turns.wait(caller.tenant, len(request) if isinstance(request, bytes) else 0)
                self._count_open(holder_of(caller, context))
                return await handle(request, context)

        return authorized

    def _count_open(self, holder: str) -> None:
        """Count the current call as open until its response is sent. Raises `OverloadedError`."""
        task = asyncio.current_task()
        assert task is not None
        self._open_calls.take(holder)
        task.add_done_callback(lambda task: self._open_calls.release(holder))

    def _observed(self, method: str, handle: Any) -> Any:
        """Wrap a method: the request gets an id, errors become statuses, and the duration is measured and logged."""

        async def observed(request: Any, context: _Context) -> Any:
            started = now()
            code = "OK"
            public: MotetError | None = None
            fields: LogFields = {}
            metadata = context.invocation_metadata() or ()
            set_request_id(request_id_of(metadata))
            span = start_server_span(method, parent_of(metadata))
            set_span(span)
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            self._unsent.add(task)
            # `context.add_done_callback` would create a reference cycle for each call.
            task.add_done_callback(self._unsent.discard)
            try:
                with collected(fields):
                    return await handle(request, context)
            except asyncio.CancelledError:
                if self._interrupted:
                    public = _INTERRUPTED
                    code = CODE_OF[public.reason].name
                    await abort(context, public)
                # A swallowed cancellation would leak the call.
                code = "CANCELLED"
                raise
            except Exception as error:
                public = public_error(error)
                code = CODE_OF[public.reason].name
                # The record of a generation may have this error, and would keep the request in memory.
                forget_frames(error)
                await abort(context, public)
            finally:
                seconds = now() - started
                labelled(CALL_SECONDS, method, code).observe(seconds)
                log_call(method, code, seconds, public, fields)
                end_server_span(span, code, public, current_request_id())
                self._running.discard(task)

        return observed

    async def _receive(self, kind: type[Message], data: bytes) -> Message:
        """Return a valid request. Its id, if it has one, becomes that of the call."""
        message = await self._parser.parse(kind, data)
        if request_id := getattr(message, "request_id", ""):
            set_request_id(request_id)
        return message

    async def _received(self, requests: AsyncIterator[Any], receive: _Receive) -> AsyncIterator[Message]:
        async for request in bounded(requests, self._limits):
            yield await receive(request)

    def _unary_unary(self, method: str, behaviour: Any, receive: _Receive) -> Any:
        async def unary_unary(request: Any, context: _Context) -> Any:
            message = await receive(request)
            async with admission(self._limiter, method):
                return await behaviour(message, context)

        return unary_unary

    def _stream_unary(self, method: str, behaviour: Any, receive: _Receive) -> Any:
        async def stream_unary(requests: Any, context: _Context) -> Any:
            async with admission(self._limiter, method):
                return await behaviour(self._received(requests, receive), context)

        return stream_unary

    def _unary_stream(self, method: str, behaviour: Any, receive: _Receive) -> Any:
        # This handler writes and does not yield. A cancellation then reaches it and closes the servicer's generator
        # before the call ends, not when the generator is garbage-collected.
        async def unary_stream(request: Any, context: _Context) -> None:
            respond = partial(behaviour, await receive(request), context)
            await running_call().send(admission(self._limiter, method), respond)

        return unary_stream

    def _stream_stream(self, method: str, behaviour: Any, receive: _Receive) -> Any:
        async def stream_stream(requests: Any, context: _Context) -> None:
            respond = partial(behaviour, self._received(requests, receive), context)
            await running_call().send(admission(self._limiter, method), respond)

        return stream_stream


def admission(limiter: ConcurrencyLimiter, method: str) -> AbstractAsyncContextManager[None]:
    """Return the context in which a call of a method runs, see `ConcurrencyLimiter.admitted`."""
    return _NO_LIMIT if method.rpartition("/")[2] in _UNLIMITED else limiter.admitted()


async def _as_it_is(request: Any) -> Any:
    return request


def _behaviour_of(handler: Any) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


_SHAPES: dict[tuple[bool, bool], tuple[Any, Any]] = {
    (False, False): (ServerInterceptor._unary_unary, grpc.unary_unary_rpc_method_handler),
    (True, False): (ServerInterceptor._stream_unary, grpc.stream_unary_rpc_method_handler),
    (False, True): (ServerInterceptor._unary_stream, grpc.unary_stream_rpc_method_handler),
    (True, True): (ServerInterceptor._stream_stream, grpc.stream_stream_rpc_method_handler),
}
