"""What callers who hang up cost: work that goes on for nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.benchmarks.tracing.spans import Span


@dataclass(frozen=True, slots=True)
class Waste:
    """Seconds of all work, of that which was done after its caller had hung up, and until each such worker was idle."""

    worked: float
    wasted: float
    idle_after: tuple[float, ...]

    @property
    def share(self) -> float:
        """Of all work, the part that was done for nobody."""
        return self.wasted / self.worked if self.worked else 0.0


def waste_of(spans: Mapping[int, Sequence[Span]], hung_up: Mapping[int, float]) -> Waste:
    """The waste of some requests' spans, by seed; `hung_up` are the moments at which callers did, on the spans' clock.

    Work that began after the caller had gone is wasted from its beginning.
    """
    worked, wasted, idle = 0.0, 0.0, []
    for seed, done in spans.items():
        worked += sum(span.ended - span.begun for span in done)
        if (gone := hung_up.get(seed)) is not None:
            wasted += sum(max(0.0, span.ended - max(gone, span.begun)) for span in done)
            idle += [span.ended - gone for span in done if span.ended > gone]
    return Waste(worked, wasted, tuple(idle))
