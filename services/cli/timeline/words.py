"""The words of a timeline, for its table and its picture."""

from __future__ import annotations

from motet.answers.timeline import Timeline, TimelineNode
from motet.core.events import CallSource

_SOURCES = {CallSource.CACHE: "from the cache", CallSource.SHARED: "shared with an equal call"}

_SHOWN = 0.001
"""Minimum wait in queues to be named, in seconds."""


def result_of(node: TimelineNode) -> str:
    """Return the outcome of a call, its replica, and the origin of its result."""
    words = [node.outcome]
    if source := _SOURCES.get(node.source):
        words.append(source)
    elif node.replica is not None:
        words.append(f"replica {node.replica}")
    if node.attempts > 1:
        words.append(f"{node.attempts} attempts")
    return ", ".join(words)


def totals_of(timeline: Timeline) -> str:
    """Return one line about a whole generation."""
    queues = f", {timeline.queue_seconds:.3f} s of it in queues" if timeline.queue_seconds >= _SHOWN else ""
    return (
        f"{timeline.state.name.lower()}, {timeline.elapsed:.3f} s: critical path {timeline.critical_seconds:.3f} s "
        f"({timeline.explained:.1%}){queues}; overhead {timeline.overhead:.3f} s"
    )
