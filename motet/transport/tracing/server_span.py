"""The span of a call that a server handles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from motet.core.errors import MotetError
from motet.core.tracing.names import REQUEST_ID, RPC_METHOD, RPC_STATUS, RPC_SYSTEM
from motet.core.tracing.span import NO_SPAN, Span, SpanKind, UnrecordedSpan, start_span
from motet.core.tracing.trace_context import TRACEPARENT_KEY, TRACESTATE_KEY, TraceContext

_UNTRACED = frozenset(
    {
        "Check",
        "GetMetricSpec",
        "GetMetrics",
        "IsActive",
        "List",
        "ServerReflectionInfo",
        "StreamIsActive",
        "Watch",
        "WatchCapacity",
    }
)
"""Methods that monitor a process. They work for no request."""

_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED"}
)
"""Status codes of calls that count as failed. The others are results, or the caller's errors."""


def parent_of(metadata: Iterable[tuple[str, Any]]) -> Span:
    """Return the caller's span from the metadata of a call, or `NO_SPAN`. Ids that are not valid are ignored."""
    found = {key: value for key, value in metadata if key in (TRACEPARENT_KEY, TRACESTATE_KEY)}
    parent, state = found.get(TRACEPARENT_KEY), found.get(TRACESTATE_KEY, "")
    if not isinstance(parent, str) or not isinstance(state, str):
        return NO_SPAN
    context = TraceContext.parse(parent, state)
    return NO_SPAN if context is None else UnrecordedSpan(context)


def start_server_span(method: str, parent: Span) -> Span:
    """Start the span of a call. Without a tracer, it is the caller's, for log lines and further calls.

    A method that monitors has no span.
    """
    if method.rpartition("/")[2] in _UNTRACED:
        return NO_SPAN
    name = method.removeprefix("/")
    return start_span(name, SpanKind.SERVER, parent=parent, attributes={RPC_SYSTEM: "grpc", RPC_METHOD: name})


def end_server_span(span: Span, code: str, error: MotetError | None, request_id: str) -> None:
    """End the span of a call with the name of its status code, its error if there is one, and its request's id."""
    if span.recording:
        span.set(RPC_STATUS, code)
        span.set(REQUEST_ID, request_id)
        if code != "OK":
            span.fail(error.reason.value if error else code, is_fault=code in _FAULTS)
        span.end()
