"""Timestamps and durations, to the nanosecond."""

from __future__ import annotations

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000


def timestamp_to_proto(seconds: float) -> Timestamp:
    """Return a time, given in seconds since the epoch, as a message."""
    whole, nanos = _parts(seconds, math.floor(seconds))
    return Timestamp(seconds=whole, nanos=nanos)


def timestamp_from_proto(timestamp: Timestamp) -> float:
    """Return the seconds since the epoch."""
    return (timestamp.seconds * _NANOS + timestamp.nanos) / _NANOS


def duration_to_proto(seconds: float) -> Duration:
    """Return a duration, given in seconds, as a message."""
    whole, nanos = _parts(seconds, math.trunc(seconds))  # a negative duration has negative nanoseconds, too
    return Duration(seconds=whole, nanos=nanos)


def duration_from_proto(duration: Duration) -> float:
    """Return the duration in seconds."""
    return (duration.seconds * _NANOS + duration.nanos) / _NANOS


def _parts(seconds: float, whole: int) -> tuple[int, int]:
    """Return `seconds` as seconds and nanoseconds. `whole` is `seconds` without its fraction."""
    # Only the fraction is rounded: a float has too few bits for the nanoseconds since the epoch.
    nanos = round((seconds - whole) * _NANOS)
    carry = int(nanos / _NANOS)
    return whole + carry, nanos - carry * _NANOS
