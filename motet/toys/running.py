"""The call of a toy worker: it counts as running, and has stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer


class CountedWorker(Protocol):
    """A worker with the number of its running calls."""

    running: int


@contextmanager
def running(worker: CountedWorker, component: ServiceKind, modality: str, first: Stage) -> Iterator[StageTimer]:
    """Count a call as running within the context. Yield the timer of its stages, of which `first` is the first."""
    worker.running += 1
    try:
        with StageTimer(component, modality, first) as stages:
            yield stages
    finally:
        worker.running -= 1
