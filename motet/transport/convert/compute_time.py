"""The compute times of a call on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from motet.core.telemetry.compute_time import ComputeTime, ComputeTimes, current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.internal.v1 import compute_time_pb2 as pb

_MAX_MODALITIES = 32
"""Maximum number of modalities whose compute times a call keeps. A faulty worker may send more."""


def compute_times_to_proto(times: ComputeTimes) -> list[pb.ComputeTime]:
    """Return the sums so far as messages. All of them are those of one component, which the reader knows."""
    return [
        pb.ComputeTime(
            modality=modality,
            gpu_seconds=time.gpu,
            cpu_seconds=time.cpu,
            batches=time.batches,
            batch_items=time.batch_items,
        )
        for (_, modality), time in times.totals().items()
    ]


class CallComputeTimes:
    """The compute times that the worker of one call reports. They are among those of the task that makes the call."""

    def __init__(self, component: ServiceKind) -> None:
        self._component = component
        self._times = current_compute_times()
        self._by_modality: dict[str, ComputeTime] = {}

    def update(self, messages: Iterable[pb.ComputeTime]) -> None:
        """Replace the times by later ones of the same call. Ignore values that are negative or not finite."""
        for message in messages:
            time = self._by_modality.get(message.modality)
            if time is None:
                if len(self._by_modality) == _MAX_MODALITIES:
                    continue
                time = self._times.start(self._component, message.modality)
                self._by_modality[message.modality] = time
            time.gpu, time.cpu = _checked(message.gpu_seconds), _checked(message.cpu_seconds)
            time.batches, time.batch_items = max(0, message.batches), max(0, message.batch_items)


def _checked(seconds: float) -> float:
    return seconds if seconds > 0 and isfinite(seconds) else 0.0
