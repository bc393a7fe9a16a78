"""The spans of the stages of requests."""

from __future__ import annotations

import time
from typing import cast

from motet.core.clock import now
from motet.core.telemetry.stage import Stage, StageInterval
from motet.core.tracing.names import MODALITY
from motet.core.tracing.span import Span, current_span, start_span


class StageSpans:
    """A `StageObserver` that records each stage of a traced request as a span, below the span of the running code.

    The stage `CALL` has no span, because each attempt of a call has one from its start.
    """

    def owner(self) -> Span:
        """Implement `StageObserver.owner`."""
        return current_span()

    def observe(self, interval: StageInterval) -> dict[str, str] | None:
        """Implement `StageObserver.observe`. The exemplar of a stage is its trace."""
        # Owners are results of `owner`.
        owner = cast(Span, interval.owner)
        if not owner.recording:
            return None
        if interval.stage is Stage.CALL:
            return _exemplar_of(owner)
        # Spans have times since the epoch.
        offset = time.time() - now()
        attributes = {MODALITY: interval.modality, **interval.attributes}
        span = start_span(interval.stage, parent=owner, attributes=attributes, at=interval.start + offset)
        span.end(interval.end + offset)
        return _exemplar_of(span)


def _exemplar_of(span: Span) -> dict[str, str] | None:
    return None if span.context is None else {"trace_id": f"{span.context.trace_id:032x}"}
