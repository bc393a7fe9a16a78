"""A tracer whose spans are kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from motet.core.tracing.span import Attributes, Span, SpanKind, Value
from motet.core.tracing.trace_context import TraceContext


@dataclass
class RecordedSpan:
    """A span that keeps its calls. `times` are its start and its end, if they are not those of the calls."""

    name: str = ""
    kind: SpanKind = SpanKind.INTERNAL
    parent: TraceContext | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)
    context: TraceContext | None = field(default_factory=lambda: TraceContext(1, 2, True))
    recording: bool = True

    def set(self, name: str, value: Value) -> None:
        """Implement `Span.set`."""
        self.attributes[name] = value

    def link(self, other: Span) -> None:
        """Implement `Span.link`."""
        self.calls.append(("link", other))

    def fail(self, error_type: str, *, is_fault: bool = True) -> None:
        """Implement `Span.fail`."""
        self.calls.append(("fail", error_type, is_fault))

    def end(self, at: float | None = None) -> None:
        """Implement `Span.end`."""
        self.times.append(at)
        self.calls.append(("end",))


class RecordedTracer:
    """A tracer that keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []

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
        span = RecordedSpan(name, kind, parent, dict(attributes), [("link", link) for link in links], [at])
        self.spans.append(span)
        return span
