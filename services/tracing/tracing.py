"""The tracing of a process, from its settings to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from motet.core.errors import SettingsError
from motet.core.telemetry.stage import use_stage_observer
from motet.core.tracing.span import use_tracer
from motet.core.tracing.stage_spans import StageSpans
from services.tracing.settings import TracingSettings

_FLUSH_TIMEOUT = 2.0
"""Maximum time for the waiting spans at the end of the process, in seconds."""


@asynccontextmanager
async def traced(settings: TracingSettings, service: str) -> AsyncIterator[None]:
    """Record and export the spans of this process within the context. Do nothing without an endpoint.

    Raises `SettingsError` if OpenTelemetry is not installed, and for a file of the settings that cannot be used.
    """
    if settings.tracing_endpoint is None:
        yield
        return
    try:
        from services.tracing.tracer import OtelTracer
    except ImportError:
        raise SettingsError(
            "--tracing-endpoint needs OpenTelemetry, which is not installed: pip install 'motet[tracing]'"
        ) from None
    tracer = OtelTracer(settings, service)
    try:
        with use_tracer(tracer), use_stage_observer(StageSpans()):
            yield
    finally:
        await asyncio.to_thread(tracer.close, _FLUSH_TIMEOUT)
