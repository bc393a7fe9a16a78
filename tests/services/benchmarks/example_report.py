"""A report with three figures, for tests."""

from __future__ import annotations

from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most

MACHINE = {"processor": "abacus", "cores": 2, "memory_gib": 1.0, "gpus": [], "packages": {}}
FASTER = Figure("speed", 30.0, "1/s", Baseline("by hand", 10.0), at_least(2.5))
SLOW = Figure("delay", 3.0, "ms", bar=at_most(2))
PLAIN = Figure("colour", 7.0, "")


def report(*figures: Figure) -> Report:
    """Return a report with these figures."""
    return Report("tempo", {"rounds": 1}, figures, ["a note"], hardware=MACHINE, time="2026-01-02T03:04:05+00:00")
