"""The spans that wait for their export."""

from __future__ import annotations

import queue
import threading
from time import monotonic

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from motet.core.telemetry.families.process_metrics import SPANS
from motet.core.telemetry.prometheus import labelled

_MAX_WAITING = 8192
"""Maximum number of spans that wait for a slow collector. Spans beyond it are dropped and counted."""

_MAX_BATCH = 512
"""Maximum number of spans in one message to the collector."""

_INTERVAL = 1.0
"""Maximum time in which spans are collected for a message, in seconds."""


class SpanQueue(SpanProcessor):
    """A processor that exports spans in a thread. A collector that is slow or away delays no request.

    OpenTelemetry's own processor may wait for 30 seconds at its end, and counts its drops only for OpenTelemetry's
    metrics.
    """

    def __init__(self, exporter: SpanExporter, max_waiting: int = _MAX_WAITING, interval: float = _INTERVAL) -> None:
        self._exporter = exporter
        self._interval = interval
        self._waiting: queue.Queue[ReadableSpan | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing: a span is exported at its end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span, or drop it if the queue is full."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            labelled(SPANS, "dropped").inc()

    def close(self, timeout: float) -> None:
        """Export the waiting spans, if this takes at most `timeout` seconds, and end."""
        end = monotonic() + timeout
        try:
            self._waiting.put(None, timeout=timeout)
            self._thread.join(max(0.0, end - monotonic()))
        except queue.Full:
            pass
        # This also ends an export that waits for its next attempt.
        self._exporter.shutdown()

    def _run(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._next_batch()
            if batch:
                self._export(batch)

    def _next_batch(self) -> tuple[list[ReadableSpan], bool]:
        """Return the spans of the next message, and false at the end."""
        batch: list[ReadableSpan] = []
        span = self._waiting.get()
        end = monotonic() + self._interval
        while span is not None:
            batch.append(span)
            if len(batch) == _MAX_BATCH:
                return batch, True
            try:
                span = self._waiting.get(timeout=max(0.0, end - monotonic()))
            except queue.Empty:
                return batch, True
        return batch, False

    def _export(self, batch: list[ReadableSpan]) -> None:
        try:
            exported = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:
            # The thread must not end. The exporter logs its errors, and these are none that it expects.
            exported = False
        labelled(SPANS, "exported" if exported else "failed").inc(len(batch))
