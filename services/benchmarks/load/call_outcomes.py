"""The outcomes of all requests of a load as its callers see them, to compare with the metrics of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from motet.core.errors import MotetError, OverloadedError, Reason
from motet.transport.status import CODE_OF

OK = "OK"

_ANSWERED = frozenset(Reason) - {Reason.WORKER_UNAVAILABLE, Reason.WORKER_LOST, Reason.WORKER_FAULT}
"""The reasons of errors that a server reports. For a call without a status of Motet, a client raises the other ones."""

_MAX_LISTED = 20


@dataclass(slots=True)
class CallOutcomes:
    """Counts of requests by outcome, and of calls by method and status code.

    `calls` has keys such as "Generate OK". `left` counts calls by method whose caller left before their status: the
    server may have completed them. `requests` has the keys succeeded, refused and cancelled. `reasons` counts refused
    requests by reason. `generations` are the accepted ones. `lost` describes requests without a proper outcome: an
    error that the server did not report, a failure, or a refusal without a retry delay.
    """

    calls: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    generations: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        """Number of requests that have an outcome or were lost."""
        return self.requests.total() + self.lost.total()

    def call(self, method: str, error: MotetError | None = None) -> None:
        """Count a call that ended with a status. An error without a status of the server is counted nowhere."""
        if error is None:
            self.calls[f"{method} {OK}"] += 1
        elif error.reason in _ANSWERED:
            self.calls[f"{method} {CODE_OF[error.reason].name}"] += 1

    def refuse(self, error: MotetError) -> None:
        """Count a request that ended with an error: refused, cancelled, or lost."""
        if error.reason is Reason.CANCELLED:
            self.requests["cancelled"] += 1
        elif isinstance(error, OverloadedError) and error.retry_after > 0 and error.message:
            self.requests["refused"] += 1
            self.reasons[error.reason.value] += 1
        else:
            self.lost[f"{error.reason}: {error.message}"] += 1

    def add(self, other: Self) -> None:
        """Add the counts of other callers."""
        for mine, others in (
            (self.calls, other.calls),
            (self.left, other.left),
            (self.requests, other.requests),
            (self.reasons, other.reasons),
            (self.lost, other.lost),
        ):
            mine.update(others)
        self.generations += other.generations

    def as_dict(self) -> dict[str, Any]:
        """Return all counts, for JSON. Of the lost requests, the most frequent ones are described."""
        return {
            "calls": dict(self.calls),
            "left": dict(self.left),
            "requests": dict(self.requests),
            "reasons": dict(self.reasons),
            "generations": self.generations,
            "lost": dict(self.lost.most_common(_MAX_LISTED)),
        }

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Self:
        """Return the counts of `as_dict`."""
        fields = {name: Counter(counts[name]) for name in ("calls", "left", "requests", "reasons", "lost")}
        return cls(**fields, generations=counts["generations"])


def counted_otherwise(callers: CallOutcomes, server: Mapping[str, int]) -> int:
    """Return the number of calls that the server counted otherwise than the callers.

    `server` has the keys of `CallOutcomes.calls`. A call whose caller left may have any code.
    """
    difference = 0
    for method in _methods(callers.calls, callers.left, server):
        expected, counted = (_codes(method, counts) for counts in (callers.calls, server))
        missing = (expected - counted).total()
        more = (counted - expected).total()
        difference += missing + abs(more - callers.left[method])
    return difference


def _methods(*counts: Iterable[str]) -> set[str]:
    return {key.partition(" ")[0] for each in counts for key in each}


def _codes(method: str, counts: Mapping[str, int]) -> Counter[str]:
    return Counter({key: count for key, count in counts.items() if key.partition(" ")[0] == method})
