"""Moments and spans of time, to the nanosecond."""

from __future__ import annotations

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000


def moment_to_proto(seconds: float) -> Timestamp:
    """A moment, in seconds since the epoch."""
    return Timestamp(**_split(seconds))


def moment_from_proto(moment: Timestamp) -> float:
    """The moment in seconds since the epoch."""
    return moment.seconds + moment.nanos / _NANOS


def span_to_proto(seconds: float) -> Duration:
    """A span of time, in seconds, not negative."""
    return Duration(**_split(seconds))


def span_from_proto(span: Duration) -> float:
    """The span in seconds."""
    return span.seconds + span.nanos / _NANOS


def _split(seconds: float) -> dict[str, int]:
    # The fraction is exact and is rounded alone: the sum in nanoseconds would not fit a float's 53 bits.
    whole = math.floor(seconds)
    nanos = round((seconds - whole) * _NANOS)
    return {"seconds": whole + nanos // _NANOS, "nanos": nanos % _NANOS}
