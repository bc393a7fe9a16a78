"""The calls to workers of one generation, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from motet.core.clock import now
from motet.core.events import CallSource, WorkerCall
from motet.core.logs.log_fields import LogFields
from motet.core.telemetry.compute_time import ComputeTimes, current_compute_times
from motet.core.telemetry.service_kind import ServiceKind


@dataclass(slots=True)
class _Call:
    component: ServiceKind
    part_id: str
    fields: LogFields
    start: float
    requested: float | None
    times: ComputeTimes
    end: float | None = None


class WorkerCalls:
    """The calls of a generation that starts now. After `freeze`, the calls stay as they were then."""

    def __init__(self) -> None:
        self._started = now()
        self._calls: list[_Call] = []
        self._requested: dict[str, float] = {}
        self._frozen: tuple[WorkerCall, ...] | None = None

    @contextmanager
    def measured(self, component: ServiceKind, fields: LogFields, part_id: str = "") -> Iterator[None]:
        """Add a call, which is made within the context. `fields` receives the fields of the call's log line.

        Its compute times are the current ones of its component. So each call to a decoder needs its own.
        """
        requested = self._requested.get(part_id)
        call = _Call(component, part_id, fields, self._elapsed(), requested, current_compute_times())
        self._calls.append(call)
        try:
            yield
        finally:
            call.end = self._elapsed()

    def request(self, part_id: str) -> None:
        """Record that the language model has requested a media part now."""
        self._requested[part_id] = self._elapsed()

    def freeze(self) -> None:
        """Keep the calls as they are now."""
        self._frozen = self.calls

    @property
    def calls(self) -> tuple[WorkerCall, ...]:
        """The calls, in the order in which they began."""
        return tuple(map(_worker_call, self._calls)) if self._frozen is None else self._frozen

    def _elapsed(self) -> float:
        return now() - self._started


def _worker_call(call: _Call) -> WorkerCall:
    fields, spent = call.fields, call.times.total_of(call.component)
    return WorkerCall(
        component=call.component.value,
        start=call.start,
        end=call.end,
        part_id=call.part_id,
        source=_source_of(fields.get("replica")),
        requested=call.requested,
        queue_wait=float(fields["queue_seconds"]) if "queue_seconds" in fields else None,
        replica=int(fields["ordinal"]) if "ordinal" in fields else None,
        attempts=int(fields.get("attempts", "0")),
        gpu_seconds=spent.gpu,
        cpu_seconds=spent.cpu,
        mean_batch_size=spent.mean_batch_size,
    )


def _source_of(replica: str | None) -> CallSource:
    match replica:
        case None:
            return CallSource.UNKNOWN
        case "cache":
            return CallSource.CACHE
        case "joined":
            return CallSource.SHARED
    return CallSource.WORKER
