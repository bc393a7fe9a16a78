"""The stages of each request, recorded in place of a tracer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from motet.core.logs.request_id import current_request_id
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import StageInterval


class RecordedStages:
    """An observer that keeps the intervals of each request by its id."""

    def __init__(self) -> None:
        self.of_request: defaultdict[str, list[StageInterval]] = defaultdict(list)

    def owner(self) -> object:
        """Return the id of the running code's request."""
        return current_request_id()

    def observe(self, interval: StageInterval) -> dict[str, str] | None:
        """Keep an interval."""
        assert isinstance(interval.owner, str)
        self.of_request[interval.owner].append(interval)
        return None


def without_calls(intervals: Iterable[StageInterval]) -> list[StageInterval]:
    """Return the intervals without those that contain others: the calls of workers as the orchestrator sees them."""
    return [each for each in intervals if each.stage != "call"]


def of_component(intervals: Iterable[StageInterval], component: ServiceKind) -> list[StageInterval]:
    """Return the intervals of one component."""
    return [each for each in intervals if each.component is component]


def covered(intervals: Iterable[StageInterval], start: float, end: float) -> float:
    """Return the seconds from `start` to `end` that are in an interval. Concurrent intervals count once."""
    seconds, at = 0.0, start
    for each in sorted(intervals, key=lambda each: each.start):
        first, last = max(each.start, at), min(each.end, end)
        if last > first:
            seconds, at = seconds + last - first, last
    return seconds
