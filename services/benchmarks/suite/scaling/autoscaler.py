"""The decisions of KEDA and of its HorizontalPodAutoscaler for one pool, as functions of the time and the demand."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from orchestrator.pool.demand import Demand

SYNC_INTERVAL = 15.0
"""Interval of a HorizontalPodAutoscaler, and the chart's polling interval of KEDA, in seconds."""

_TOLERANCE = 0.1
"""Deviation of the demand from the target below which a HorizontalPodAutoscaler changes nothing, as a ratio."""

_MIN_STEP_UP = 4
"""Number of pods that a HorizontalPodAutoscaler may always add at once. It may also double their number."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """The values `autoscaling` of a worker in the chart. Times are in seconds."""

    max_replicas: int
    min_replicas: int = 0
    target: float = 10.0
    cooldown: float = 300.0
    stabilization: float = 120.0


class Autoscaler:
    """The number of replicas of one pool. `replicas` is the latest decision."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy
        self._active_at = -math.inf
        self._wanted: deque[tuple[float, int]] = deque()
        """The times and the numbers that the demand asked for, within the stabilization time."""
        self.replicas = policy.min_replicas

    def activate(self, moment: float) -> None:
        """Start the first replica, if there is none: the pool has become active."""
        self._active_at = moment
        self.replicas = max(1, self.replicas)

    def sync(self, moment: float, demand: Demand) -> None:
        """Decide at one of the times that are `SYNC_INTERVAL` apart."""
        if demand.active:
            self.activate(moment)
        if self.replicas:
            self.replicas = self._by_demand(moment, demand.seconds)
        if self._policy.min_replicas == 0 and moment - self._active_at >= self._policy.cooldown:
            self.replicas = 0
            self._wanted.clear()

    def _by_demand(self, moment: float, seconds: float) -> int:
        policy, present = self._policy, self.replicas
        ratio = seconds / (policy.target * present)
        wanted = present if abs(ratio - 1) <= _TOLERANCE else math.ceil(seconds / policy.target - _ROUNDING)
        wanted = min(max(wanted, policy.min_replicas, 1), policy.max_replicas, max(present + _MIN_STEP_UP, 2 * present))
        self._wanted.append((moment, wanted))
        while self._wanted[0][0] < moment - policy.stabilization:
            self._wanted.popleft()
        return wanted if wanted >= present else min(present, max(number for _, number in self._wanted))
