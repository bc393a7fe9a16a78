"""A tracer that records spans with OpenTelemetry and sends them to a collector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes as OtelAttributes

from motet.core.tracing.names import ERROR_TYPE
from motet.core.tracing.span import Attributes, Span, SpanKind, UnrecordedSpan, Value
from motet.core.tracing.trace_context import TraceContext
from services.tracing.settings import TracingSettings
from services.tracing.span_queue import SpanQueue

_EXPORT_TIMEOUT = 10.0
"""Maximum time of an export with its retries, in seconds."""

_MAX_TEXT = 256
"""Maximum number of characters of an attribute."""

_KINDS = {kind: trace.SpanKind[kind.name] for kind in SpanKind}
_NANOSECONDS = 1e9


class OtelTracer:
    """The tracer of a process with an endpoint in its settings. `service` names the process in its traces.

    Raises `SettingsError` for a file that cannot be used.
    """

    def __init__(self, settings: TracingSettings, service: str) -> None:
        # Its lines below this level repeat those of a failed export.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        secure = settings.encrypted
        exporter = OTLPSpanExporter(
            endpoint=settings.tracing_endpoint,
            insecure=not secure,
            credentials=settings.credentials() if secure else None,
            headers=settings.headers(),
            timeout=_EXPORT_TIMEOUT,
            # By default, gRPC uses the proxy that the environment's `http_proxy` names, also for loopback addresses.
            channel_options=(("grpc.enable_http_proxy", 0),),  # type: ignore[arg-type]
        )
        self._queue = SpanQueue(exporter)
        self._provider = TracerProvider(
            sampler=_Sampler(settings.tracing_ratio),
            resource=Resource.create(
                {"service.namespace": "motet", "service.name": service, "service.version": version("motet")}
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=_MAX_TEXT),
        )
        self._provider.add_span_processor(self._queue)
        self._tracer = self._provider.get_tracer("motet", version("motet"))

    def start(
        self,
        name: str,
        kind: SpanKind,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[Span],
        at: float | None,
    ) -> Span:
        """Implement `Tracer.start`."""
        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(_to_otel(parent, is_remote=True)), context)
        span = self._tracer.start_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(_to_otel(other.context)) for other in links if other.context and other.context.sampled],
            start_time=_time_ns(at),
            record_exception=False,
            set_status_on_exception=False,
        )
        own = span.get_span_context()
        found = TraceContext(own.trace_id, own.span_id, own.trace_flags.sampled, parent.state if parent else "")
        return OtelSpan(span, found) if span.is_recording() else UnrecordedSpan(found)

    def close(self, timeout: float) -> None:
        """Export the spans that wait, if this takes at most `timeout` seconds."""
        self._queue.close(timeout)


class OtelSpan:
    """A span that is recorded."""

    __slots__ = ("_span", "context")
    recording = True

    def __init__(self, span: trace.Span, context: TraceContext) -> None:
        self._span = span
        self.context = context

    def set(self, name: str, value: Value) -> None:
        """Implement `Span.set`."""
        if self._span.is_recording():
            self._span.set_attribute(name, value)

    def link(self, other: Span) -> None:
        """Implement `Span.link`."""
        if other.context and other.context.sampled and self._span.is_recording():
            self._span.add_link(_to_otel(other.context))

    def fail(self, error_type: str, *, is_fault: bool = True) -> None:
        """Implement `Span.fail`."""
        self.set(ERROR_TYPE, error_type)
        if is_fault and self._span.is_recording():
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self, at: float | None = None) -> None:
        """Implement `Span.end`."""
        if self._span.is_recording():
            self._span.end(_time_ns(at))


class _Sampler(Sampler):
    """Follows the parent's decision. Without a parent, a span is recorded for a link that is, or by the ratio.

    A batch has links to the requests in it, and no parent.
    """

    def __init__(self, ratio: float) -> None:
        self._by_parent = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the decision."""
        has_parent = trace.get_current_span(parent_context).get_span_context().is_valid
        sampler: Sampler = ALWAYS_ON if links and not has_parent else self._by_parent
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Return the name of the rule."""
        return "motet(parent, link or ratio)"


def _to_otel(context: TraceContext, is_remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(context.trace_id, context.span_id, is_remote, flags, state)


def _time_ns(at: float | None) -> int | None:
    return None if at is None else int(at * _NANOSECONDS)
