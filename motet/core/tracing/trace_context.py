"""The W3C trace context: the place of a span in its trace, as it travels between processes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

TRACEPARENT_KEY, TRACESTATE_KEY = "traceparent", "tracestate"
"""The metadata keys of a trace context."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?")
_MAX_LENGTH = 512
"""Maximum number of characters of both values. W3C requires that vendors pass on a state of at least 512."""

_INVALID_VERSION, _SAMPLED = "ff", 0x01

_MEMBER = r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,256}"
_TRACESTATE = re.compile(rf"{_MEMBER}(?:[ \t]*,[ \t]*(?:{_MEMBER})?){{0,31}}")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The ids of a trace and of a span, which are not 0, and the caller's decision to record the trace.

    `state` is the value of `tracestate`, which belongs to tracing systems and is passed on as it is.
    """

    trace_id: int
    span_id: int
    sampled: bool
    state: str = ""

    @classmethod
    def parse(cls, traceparent: str, tracestate: str = "") -> Self | None:
        """Return the context of a caller, or None for an invalid `traceparent`. An invalid state is dropped."""
        if len(traceparent) > _MAX_LENGTH or (matched := _TRACEPARENT.fullmatch(traceparent)) is None:
            return None
        version, trace_id, span_id, flags, more = matched.groups()
        if version == _INVALID_VERSION or (version == "00" and more) or not (int(trace_id, 16) and int(span_id, 16)):
            return None
        state = tracestate if len(tracestate) <= _MAX_LENGTH and _TRACESTATE.fullmatch(tracestate) else ""
        return cls(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED), state)

    @property
    def traceparent(self) -> str:
        """The value of `traceparent` for a call to another process."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata of a call to another process."""
        parent = (TRACEPARENT_KEY, self.traceparent)
        return (parent, (TRACESTATE_KEY, self.state)) if self.state else (parent,)
