"""Running calls, whose credentials are checked again at an interval."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections import deque
from collections.abc import AsyncGenerator
from contextvars import Context, ContextVar, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from motet.core.caller import Caller
from motet.core.errors import AccessError, MotetError, Reason
from motet.core.logs.audit import AUDIT
from motet.scheduling.shared_timer import SharedTimer
from motet.transport.access.authentication import Authentication
from motet.transport.access.authorization import check_role, is_job
from motet.transport.status import public_error

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

RECHECK_INTERVAL = 5.0
"""Seconds between two checks of a running call's credentials."""


class RunningCall:
    """A running call of an authenticated caller. Run its handler in `with`.

    If its credentials are refused, the handler is cancelled, and the context raises the error of a new call. But no
    status can overtake a message, so a handler that sends a message is not cancelled. The generator of its messages is
    closed at once, and the handler gets the error after the message, which the caller may never read.
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
        self._unsent: AsyncGenerator[Any, None] | None = None
        """The generator of messages, while one of them is sent."""
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
        # A cancellation by other code takes precedence, as in `asyncio.timeout`.
        if self._error is not None and self._closing is None and task.uncancel() == 0 and kind is CancelledError:
            raise self._error from None

    @property
    def running(self) -> bool:
        """True until the handler ends."""
        return self._task is not None

    async def send(self, messages: AsyncGenerator[Any, None]) -> None:
        """Send all messages. Raises the error of `end`."""
        async for message in messages:
            self._unsent = messages
            await self.context.write(message)
            self._unsent = None
            if self._closing is not None:
                await asyncio.shield(self._closing)
                assert self._error is not None
                raise self._error

    def end(self, error: MotetError) -> None:
        """End the handler with an error, if it runs."""
        if self._task is None:
            return
        self._error = error
        AUDIT.warning(
            "a running call is ended because its credentials are no longer valid",
            extra={"method": self.method, "credential": self.caller.credential, "reason": error.reason.value},
        )
        if self._unsent is None:
            self._task.cancel()
        else:
            self._closing = asyncio.create_task(self._unsent.aclose())


_current: ContextVar[RunningCall] = ContextVar("motet_running_call")

running_call = _current.get
"""Return the call that runs now. Raises `LookupError` outside of a call that a server authenticated."""


class RunningCalls:
    """The running calls of a server. Each call is authenticated again, and its role checked, every `interval` seconds.

    One timer serves all calls, and one check runs at a time, so that many calls do not hold up the event loop. The
    jobs of workers are excepted, see ADR 41.
    """

    def __init__(self, authentication: Authentication, interval: float = RECHECK_INTERVAL) -> None:
        self._authentication = authentication
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
