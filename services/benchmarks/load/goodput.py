"""What a load got out of a server, judged by what its callers were promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.benchmarks.load.client_trace import Heard, latencies
from services.benchmarks.reports.statistics import percentile, percentiles


@dataclass(frozen=True, slots=True)
class Objective:
    """What callers are promised, in seconds; None where nothing is."""

    first_text: float | None = None
    first_media: float | None = None
    total: float | None = None

    def kept(self, heard: Heard) -> bool:
        """Whether an answer came whole, and each thing in it in time."""
        pairs = (
            (heard.first_text, self.first_text),
            (heard.first_media, self.first_media),
            (heard.total, self.total),
        )
        return heard.whole and all(got is None or most is None or got <= most for got, most in pairs)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One load: how many requests a second were offered for how long, and what came of each."""

    rate: float
    seconds: float
    heard: Sequence[Heard]

    @property
    def staying(self) -> list[Heard]:
        """Those whose callers did not hang up."""
        return [one for one in self.heard if one.hung_up is None]

    def kept(self, objective: Objective) -> float:
        """The share of those who stayed that got what they were promised; 1 where nobody asked."""
        staying = self.staying
        return sum(map(objective.kept, staying)) / len(staying) if staying else 1.0

    def goodput(self, objective: Objective) -> float:
        """Requests a second that came and got what they were promised."""
        return sum(map(objective.kept, self.staying)) / self.seconds

    def as_dict(self, objective: Objective) -> dict[str, Any]:
        """All of it, for JSON."""
        staying = self.staying
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": len(self.heard),
            "hung_up": len(self.heard) - len(staying),
            "whole": sum(one.whole for one in staying),
            "failed": dict(Counter(one.refused or str(one.state) for one in staying if not one.whole)),
            "goodput": self.goodput(objective),
            "kept": self.kept(objective),
            "sent_late_p99": percentile([one.late for one in self.heard], 99) if self.heard else None,
            "latency": {name: percentiles(seconds, 50, 90, 95, 99) for name, seconds in latencies(staying).items()},
        }


def best_goodput(outcomes: Sequence[Outcome], objective: Objective, share: float = 0.9) -> float:
    """The highest goodput at which at least a share of the requests got what they were promised; 0 if at none."""
    kept = [outcome for outcome in outcomes if outcome.kept(objective) >= share]
    return max((outcome.goodput(objective) for outcome in kept), default=0.0)
