"""A process without metrics: the baseline of their cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

from prometheus_client import Counter, Gauge, Histogram

from motet.core.telemetry.stage import StageTimer

_RECORDING: tuple[tuple[type, str], ...] = (
    (Counter, "inc"),
    (Gauge, "inc"),
    (Gauge, "dec"),
    (Gauge, "set"),
    (Histogram, "observe"),
    (StageTimer, "enter"),
    (StageTimer, "end"),
)
"""Everything that the code calls to record a value."""


@asynccontextmanager
async def unrecorded() -> AsyncIterator[None]:
    """Make every recording of a metric in this process do nothing within the context."""
    patches = [patch.object(kind, method, _ignored()) for kind, method in _RECORDING]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def _ignored() -> Callable[..., None]:
    def ignore(*_: Any, **__: Any) -> None:
        """Record nothing."""

    return ignore
