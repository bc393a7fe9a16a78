"""The problems of a component as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.cli.cluster.component import Component
from services.cli.cluster.pod import PodState


def problem_lines(component: Component, pods: Iterable[PodState]) -> Sequence[str]:
    """Return a line with the remedy for each different problem, with the number of its pods."""
    counts: dict[str, int] = {}
    for pod in pods:
        if pod.problem is not None:
            line = f"{pod.problem}: {pod.problem.remedy}"
            counts[line] = counts.get(line, 0) + 1
    lines = [f"{component.name}: {number} not ready: {line}" for line, number in counts.items()]
    if component.failure:
        lines.insert(0, f"{component.name}: no pod can be created: {component.failure}")
    return lines
