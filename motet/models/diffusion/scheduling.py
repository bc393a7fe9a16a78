"""Whose turn it is: which of the waiting take the next step together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from motet.core.clock import now

PATIENCE = 16
"""Who was passed over so many times gets ahead: a tenant's jobs of one priority go up by one priority until any of them
has a step, and a job goes ahead of that tenant's others until it has one."""


class Schedulable(Protocol):
    """What decides when a job is served. `passed` belongs to `StepScheduler`, which counts there."""

    passed: int

    @property
    def group(self) -> int:
        """Only jobs of one group can share a step."""
        ...

    @property
    def tenant(self) -> str:
        """On whose behalf."""
        ...

    @property
    def priority(self) -> int:
        """Higher goes first."""
        ...

    @property
    def due(self) -> float | None:
        """When it must be done, on the clock of `motet.core.clock`."""
        ...

    @property
    def remaining(self) -> int:
        """Steps until it is done."""
        ...

    @property
    def number(self) -> int:
        """Jobs are numbered as they come."""
        ...


W = TypeVar("W", bound=Schedulable)


class StepScheduler(Generic[W]):
    """Decides who goes next, step by step.

    The higher priority goes first, and waiting raises it, so nobody waits for ever. Within a priority, groups get equal
    time and then tenants equally many steps, whatever they ask for. Of one tenant's jobs, those go first that would
    miss their deadline otherwise, the earliest first; then those that are soonest done, so that the mean wait is least.
    """

    def __init__(self) -> None:
        self._groups = _Shares()
        self._tenants = _Shares()

    def next(self, waiting: Sequence[W], size: Callable[[int, int], int], pace: float) -> list[W]:
        """Who takes the next step, of one group. `size` says how many of so many of a group go together; `pace` is
        about how many seconds a step takes. There must be somebody waiting.
        """
        self._groups.keep(each.group for each in waiting)
        self._tenants.keep(each.tenant for each in waiting)
        levels = _levels(waiting)
        leading = min(
            waiting, key=lambda each: (-levels[_class(each)], self._groups.had(each.group), *self._place(each, pace))
        )
        peers = [each for each in waiting if each.group == leading.group]
        served: list[W] = []
        given: Counter[str] = Counter()
        for _ in range(size(leading.group, len(peers))):
            others = (each for each in peers if each not in served)
            best = min(others, key=lambda each: (-levels[_class(each)], *self._place(each, pace, given[each.tenant])))
            given[best.tenant] += 1
            served.append(best)
        for each in waiting:
            each.passed = 0 if each in served else each.passed + 1
        return served

    def charge(self, served: Sequence[W], seconds: float) -> None:
        """Account for a step that these have taken together."""
        for group in {each.group for each in served}:
            self._groups.add(group, seconds)
        for each in served:
            self._tenants.add(each.tenant, 1)

    def _place(self, each: W, pace: float, given: int = 0) -> tuple[float, ...]:
        pressed = each.due is not None and each.due - now() < 2 * each.remaining * pace
        due = each.due if pressed and each.due is not None else float("inf")
        return (self._tenants.had(each.tenant) + given, due, -(each.passed // PATIENCE), each.remaining, each.number)


def _class(each: Schedulable) -> tuple[str, int]:
    return each.tenant, each.priority


def _levels(waiting: Sequence[Schedulable]) -> dict[tuple[str, int], int]:
    passed: dict[tuple[str, int], int] = {}
    for each in waiting:
        passed[_class(each)] = min(each.passed, passed.get(_class(each), each.passed))
    return {(tenant, priority): priority + turns // PATIENCE for (tenant, priority), turns in passed.items()}


class _Shares:
    """What each of those present has had. Who comes, or comes back, is taken to have had as little as any of them."""

    def __init__(self) -> None:
        self._had: dict[Hashable, float] = {}

    def keep(self, present: Iterable[Hashable]) -> None:
        """Forget all others."""
        names = set(present)
        least = min((had for name, had in self._had.items() if name in names), default=0.0)
        self._had = {name: self._had.get(name, least) for name in names}

    def had(self, name: Hashable) -> float:
        return self._had[name]

    def add(self, name: Hashable, amount: float) -> None:
        self._had[name] = self._had.get(name, 0.0) + amount
