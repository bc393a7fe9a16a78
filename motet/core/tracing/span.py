"""Spans: the timed parts of a request's work.

`use_tracer` selects the tracer of the process. Without one, or if the trace of the current request is not recorded,
every span is one shared object that does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from enum import Enum
from types import TracebackType
from typing import Any, Protocol, TypeVar

from motet.core.errors import MotetError, Reason
from motet.core.tracing.trace_context import TraceContext

Item = TypeVar("Item")
Value = str | int | float | bool
Attributes = Mapping[str, Value]


class SpanKind(Enum):
    """The role of a span: the client's or the server's side of a call, or work within a process."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2


class Span(Protocol):
    """A part of a request's work, from its start to `end`. Any thread may use it."""

    @property
    def context(self) -> TraceContext | None:
        """The context that parts of this work have as their parent, or None without a trace."""
        ...

    @property
    def recording(self) -> bool:
        """True if the span will be exported."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Set an attribute. Prompts, media, keys and names of tenants are no values."""
        ...

    def link(self, other: Span) -> None:
        """Add a link to a related span that is no ancestor. Do nothing if its trace is not recorded."""
        ...

    def fail(self, error_type: str, *, is_fault: bool = True) -> None:
        """Set the type of an error, such as a `Reason`. With `is_fault`, the span counts as failed."""
        ...

    def end(self, at: float | None = None) -> None:
        """End the span, at a time in seconds since the epoch or now. Later calls do nothing."""
        ...


class Tracer(Protocol):
    """The creator of the spans of a process."""

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[Span],
        at: float | None,
    ) -> Span:
        """Start a span, at a time in seconds since the epoch or now. Without a parent, it begins a trace."""
        ...


class UnrecordedSpan:
    """A span that is not recorded. Its context, if it has one, is that of the caller."""

    __slots__ = ("context",)
    recording = False

    def __init__(self, context: TraceContext | None = None) -> None:
        self.context = context

    def set(self, name: str, value: Value) -> None:
        """Do nothing."""

    def link(self, other: Span) -> None:
        """Do nothing."""

    def fail(self, error_type: str, *, is_fault: bool = True) -> None:
        """Do nothing."""

    def end(self, at: float | None = None) -> None:
        """Do nothing."""


NO_SPAN = UnrecordedSpan()
"""The span outside every trace."""

_CURRENT: ContextVar[Span] = ContextVar("span", default=NO_SPAN)
_tracer: Tracer | None = None

current_span = _CURRENT.get
"""Return the span of the current task, or `NO_SPAN`. Tasks inherit the span of the task that creates them."""

set_span = _CURRENT.set
"""Set the span of the current task, which its caller ends."""


def current_trace_id() -> str:
    """Return the id of the current trace as 32 hex digits, or "" outside a trace."""
    context = _CURRENT.get().context
    return f"{context.trace_id:032x}" if context else ""


@contextmanager
def use_tracer(tracer: Tracer) -> Iterator[None]:
    """Make a tracer the one of this process within the context."""
    global _tracer
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def start_span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: Span | None = None,
    attributes: Attributes | None = None,
    links: Sequence[Span] = (),
    at: float | None = None,
) -> Span:
    """Start a span that the caller ends. It is not the current one. Its parent is the current span, or `parent`.

    A parent of `NO_SPAN` begins a trace. A parent that is not recorded has no recorded children, so the result is the
    parent then. Without a tracer, no span is recorded.
    """
    if parent is None:
        parent = _CURRENT.get()
    if _tracer is None or (parent.context is not None and not parent.context.sampled):
        return UnrecordedSpan(parent.context) if parent.recording else parent
    return _tracer.start(name, kind, parent.context, attributes or {}, links, at)


class spanning:  # noqa: N801 - it reads as a verb: `with spanning("...") as span`
    """Start a span that is the current one within the context, and end it on exit, also with an error.

    Do not yield within the context, because the current span would be that of the reader, too.
    """

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_parent", "_span", "_token")

    def __init__(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        *,
        parent: Span | None = None,
        attributes: Attributes | None = None,
        links: Sequence[Span] = (),
    ) -> None:
        self._name, self._kind, self._parent = name, kind, parent
        self._attributes, self._links = attributes, links

    def __enter__(self) -> Span:
        self._span = start_span(
            self._name, self._kind, parent=self._parent, attributes=self._attributes, links=self._links
        )
        self._token = _CURRENT.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CURRENT.reset(self._token)
        if self._span.recording:
            end_span(self._span, error)


def end_span(span: Span, error: BaseException | None = None) -> None:
    """End a span. An error gives its reason, never its message. A cancellation by the caller is no fault."""
    if isinstance(error, MotetError):
        span.fail(error.reason.value, is_fault=error.reason is not Reason.CANCELLED)
    elif isinstance(error, asyncio.CancelledError | GeneratorExit):
        span.fail(Reason.CANCELLED.value, is_fault=False)
    elif error is not None:
        span.fail(type(error).__name__)
    span.end()


@contextmanager
def ending(span: Span) -> Iterator[None]:
    """End a span on exit, as `end_span` does. It is not the current one, so the context may yield."""
    try:
        yield
    except BaseException as error:
        end_span(span, error)
        raise
    end_span(span)


class within_span(AsyncIterator[Item]):  # noqa: N801 - it reads as a preposition: `within_span(span, items)`
    """Yield the items of an iterator. The span is the current one while the iterator computes the next item."""

    __slots__ = ("_items", "_span")

    def __init__(self, span: Span, items: AsyncIterator[Item]) -> None:
        self._span = span
        self._items = items

    async def __anext__(self) -> Item:
        token = _CURRENT.set(self._span)
        try:
            return await anext(self._items)
        finally:
            _CURRENT.reset(token)

    async def aclose(self) -> None:
        """Close the iterator, if it can be closed."""
        close: Any = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


def in_a_trace(name: str, items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Return the items of a generator. If its caller has no trace, its work is a trace of its own with a root span."""
    return items if _tracer is None or _CURRENT.get().context is not None else _rooted(name, items)


async def _rooted(name: str, items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    span = start_span(name)
    with ending(span):
        async with aclosing(within_span(span, items)) as inner:
            async for item in inner:
                yield item
