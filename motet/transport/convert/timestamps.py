"""Timestamps and durations, to the nanosecond."""

from __future__ import annotations

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000


def timestamp_to_proto(seconds: float) -> Timestamp:
    """Return a time, given in seconds since the epoch, as a message."""
    timestamp = Timestamp()
    timestamp.FromNanoseconds(_nanoseconds(seconds))
    return timestamp


def timestamp_from_proto(timestamp: Timestamp) -> float:
    """Return the seconds since the epoch."""
    return timestamp.ToNanoseconds() / _NANOS


def duration_to_proto(seconds: float) -> Duration:
    """Return a duration, given in seconds, as a message."""
    duration = Duration()
    duration.FromNanoseconds(_nanoseconds(seconds))
    return duration


def duration_from_proto(duration: Duration) -> float:
    """Return the duration in seconds."""
    return duration.ToNanoseconds() / _NANOS


def _nanoseconds(seconds: float) -> int:
    # Only the fraction is rounded: a float has too few bits for the nanoseconds since the epoch.
    whole = math.floor(seconds)
    return whole * _NANOS + round((seconds - whole) * _NANOS)
