"""Running calls, whose credentials are checked again at an interval."""

from __future__ import annotations

import asyncio
import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from motet.core.caller import Caller
from motet.core.errors import AccessError, MotetError, Reason, RetryableError
from motet.core.logs.audit import AUDIT
from motet.core.telemetry.families import call_metrics
from motet.scheduling.shared_timer import SharedTimer
from motet.transport.access.authentication import Authentication
from motet.transport.access.authorization import check_role, is_job
from motet.transport.bounds.limits import CallLimits
from motet.transport.status import public_error

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

_LOG = logging.getLogger(__name__)

RECHECK_INTERVAL = 5.0
"""Seconds between two checks of a running call's credentials."""


class RunningCall:
    """A running call of an authenticated caller. Run its handler in `with`.

    If its credentials are refused, the handler is cancelled, and the context raises the error of a new call. But no
    status can overtake a message, and gRPC offers a server no way to reset a stream. So a handler that sends a message
    is not cancelled. The generator of its messages is closed and its admission ends at once, so the call holds one
    message and no work. The handler gets the error after the message, which the caller may never read. A call whose
    caller takes no message for a time ends in the same way.
    """

    def __init__(self, calls: RunningCalls, method: str, context: _Context, caller: Caller) -> None:
        self.method = method
        self.context = context
        self.caller = caller
        self.variables: Context
        """The context variables of the call, so that log lines have its request id."""
        self._calls = calls
        self._task: asyncio.Task[Any] | None = None
        self._error: MotetError | None = None
        self._admission: AbstractAsyncContextManager[None] | None = None
        """The admission, while the call sends messages."""
        self._messages: AsyncGenerator[Any, None] | None = None
        self._sending = False
        """True while a message is sent."""
        self._closing: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        _current.set(self)
        self.variables = copy_context()
        self._calls.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        self._calls.discard(self)
        # The variables refer to this call, and the cycle would keep the call until the next garbage collection.
        self.variables = Context()
        # A cancellation by other code takes precedence, as in `asyncio.timeout`.
        if self._error is not None and self._closing is None and task.uncancel() == 0 and kind is CancelledError:
            raise self._error from None

    @property
    def running(self) -> bool:
        """True until the handler ends."""
        return self._task is not None

    async def send(
        self, admission: AbstractAsyncContextManager[None], respond: Callable[[], AsyncGenerator[Any, None]]
    ) -> None:
        """Send all messages of the generator that `respond` returns after the admission, and close it.

        Raises the error of `end`, and `RetryableError` with the reason SLOW_READER if the caller takes no message for
        the `send_timeout` of the calls.
        """
        await admission.__aenter__()
        self._admission = admission
        timer = self._calls.send_timer
        try:
            self._messages = respond()
            async for message in self._messages:
                self._sending = True
                timer.add(self)
                await self.context.write(message)
                timer.discard(self)
                self._sending = False
                if self._closing is not None:
                    await asyncio.shield(self._closing)
                    assert self._error is not None
                    raise self._error
        finally:
            timer.discard(self)
            await (self._close() if self._closing is None else asyncio.shield(self._closing))

    def end(self, error: MotetError) -> None:
        """End the handler with an error, if it runs."""
        if self._task is None:
            return
        self._error = error
        AUDIT.warning(
            "a running call is ended because its credentials are no longer valid",
            extra={"method": self.method, "credential": self.caller.credential, "reason": error.reason.value},
        )
        if self._sending:
            self._start_closing()
        else:
            self._task.cancel()

    def stop_unread(self) -> None:
        """End the call because its caller takes no message, unless it is ending."""
        if self._closing is None:
            self._error = slow_reader_error()
            self.variables.run(_LOG.info, "a caller does not read its responses", extra={"method": self.method})
            call_metrics.SLOW_READERS.inc()
            self._start_closing()

    def _start_closing(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), context=self.variables)

    async def _close(self) -> None:
        """Close the generator of messages, and leave the admission."""
        assert self._admission is not None
        try:
            if self._messages is not None:
                await self._messages.aclose()
        finally:
            await self._admission.__aexit__(None, None, None)


def slow_reader_error() -> RetryableError:
    """Return the error of a caller that did not read its responses."""
    return RetryableError(
        "the responses were not read for too long, so the server stopped sending; read faster, and continue: watch a "
        "detached generation after the last sequence number, or download from the last offset",
        Reason.SLOW_READER,
    )


_current: ContextVar[RunningCall] = ContextVar("motet_running_call")

running_call = _current.get
"""Return the call that runs now. Raises `LookupError` outside of a call that a server authenticated."""


class RunningCalls:
    """The running calls of a server. Each call is authenticated again, and its role checked, every `interval` seconds.

    One timer serves all calls, and one check runs at a time, so that many calls do not hold up the event loop. The
    jobs of workers are excepted, see ADR 41.
    """

    def __init__(
        self,
        authentication: Authentication,
        interval: float = RECHECK_INTERVAL,
        send_timeout: float = CallLimits().send_timeout,
    ) -> None:
        self._authentication = authentication
        self.send_timer: SharedTimer[RunningCall] = SharedTimer(send_timeout, RunningCall.stop_unread)
        """The timer of calls that send a message. It ends those whose caller takes none for `send_timeout` seconds."""
        self._timer: SharedTimer[RunningCall] = SharedTimer(interval, self._add_due)
        self._due: deque[RunningCall] = deque()
        self._checking: asyncio.Task[None] | None = None

    def add(self, call: RunningCall) -> None:
        """Check a call from now on, if its method and the authentication need it."""
        if not (self._authentication.accepts_anyone or is_job(call.method)):
            self._timer.add(call)

    def discard(self, call: RunningCall) -> None:
        """Check a call no more: its handler has ended."""
        self._timer.discard(call)

    def _add_due(self, call: RunningCall) -> None:
        self._due.append(call)
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check_due())

    async def _check_due(self) -> None:
        while self._due:
            call = self._due.popleft()
            if call.running:
                await asyncio.create_task(self._check(call), context=call.variables)

    async def _check(self, call: RunningCall) -> None:
        try:
            present = await self._authentication.caller_of(call.context, again=True)
            check_role(present, call.method)
            if present.tenant != call.caller.tenant:
                raise AccessError("the credentials are of another tenant now; call again", Reason.CREDENTIALS_INVALID)
        except Exception as error:
            call.end(public_error(error))
        else:
            if call.running:
                self._timer.add(call)
