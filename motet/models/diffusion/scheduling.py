"""The order of denoising steps: the choice of the jobs that take the next step in one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import inf
from typing import Generic, Protocol, TypeVar

from motet.core.clock import now

AGEING_STEPS = 16
"""Number of skipped steps that raise a priority by one.

All jobs of one tenant and one priority rise together until one of them takes a step. A job that has skipped this number
of steps also precedes its tenant's other jobs of equal priority until it takes a step.
"""


class Schedulable(Protocol):
    """A job that takes steps. `StepScheduler` counts its `skipped_steps`."""

    skipped_steps: int

    @property
    def group(self) -> int:
        """The batch group. Only jobs of one group can share a step."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant that is charged for the steps."""
        ...

    @property
    def priority(self) -> int:
        """The priority. A higher number is served first."""
        ...

    @property
    def due(self) -> float | None:
        """The deadline in seconds on the clock of `motet.core.clock`, or None."""
        ...

    @property
    def remaining(self) -> int:
        """The number of remaining steps."""
        ...

    @property
    def number(self) -> int:
        """The number of the job. Later jobs have higher numbers."""
        ...


J = TypeVar("J", bound=Schedulable)


class StepScheduler(Generic[J]):
    """The choice of the jobs that take the next step.

    The highest priority is first, and waiting raises a priority, so no job starves. Within a priority, groups get equal
    time, then tenants get an equal number of steps. Of one tenant's jobs, jobs in danger of missing their deadline are
    first, ordered by deadline. The other jobs are ordered by remaining steps, fewest first, which minimises the mean
    waiting time.

    A `FairQueue` cannot replace this class: jobs stay until their last step, and their order within a tenant changes
    with every step. Ageing counts steps and not seconds, because the duration of a step differs by orders of magnitude
    between devices.
    """

    def __init__(self) -> None:
        self._groups = _Shares()
        self._tenants = _Shares()

    def next(self, jobs: Sequence[J], batch_size: Callable[[int, int], int], step_seconds: float) -> list[J]:
        """Return the jobs of the next step, all of one group. `jobs` must not be empty.

        `batch_size(group, count)` returns the batch size for `count` waiting jobs of a group. `step_seconds` is the
        predicted time between two steps of a job, in seconds.
        """
        self._groups.keep(job.group for job in jobs)
        self._tenants.keep(job.tenant for job in jobs)
        priorities = _aged_priorities(jobs)
        first = min(
            jobs,
            key=lambda job: (-priorities[_line(job)], self._groups.used(job.group), *self._rank(job, step_seconds)),
        )
        candidates = [job for job in jobs if job.group == first.group]
        chosen: list[J] = []
        charged: Counter[str] = Counter()
        for _ in range(batch_size(first.group, len(candidates))):
            best = min(
                (job for job in candidates if job not in chosen),
                key=lambda job: (-priorities[_line(job)], *self._rank(job, step_seconds, charged[job.tenant])),
            )
            charged[best.tenant] += 1
            chosen.append(best)
        for job in jobs:
            job.skipped_steps = 0 if job in chosen else job.skipped_steps + 1
        return chosen

    def charge(self, batch: Sequence[J], seconds: float) -> None:
        """Account for one step of a batch that took `seconds`."""
        for group in {job.group for job in batch}:
            self._groups.add(group, seconds)
        for job in batch:
            self._tenants.add(job.tenant, 1)

    def _rank(self, job: J, step_seconds: float, charged: int = 0) -> tuple[float, ...]:
        """Return the sort key of a job. `charged` is the number of its tenant's jobs in the batch."""
        urgent = job.due is not None and job.due - now() < 2 * job.remaining * step_seconds
        due = job.due if urgent and job.due is not None else inf
        aged = job.skipped_steps // AGEING_STEPS
        return (self._tenants.used(job.tenant) + charged, due, -aged, job.remaining, job.number)


def _line(job: Schedulable) -> tuple[str, int]:
    """Return the tenant and the priority, which age together."""
    return job.tenant, job.priority


def _aged_priorities(jobs: Sequence[Schedulable]) -> dict[tuple[str, int], int]:
    """Return the priority of each line, raised by the steps that all of its jobs have skipped."""
    skipped: dict[tuple[str, int], int] = {}
    for job in jobs:
        skipped[_line(job)] = min(job.skipped_steps, skipped.get(_line(job), job.skipped_steps))
    return {(tenant, priority): priority + steps // AGEING_STEPS for (tenant, priority), steps in skipped.items()}


class _Shares:
    """The service used by each present name. A name that arrives, or returns, starts level with the least service."""

    def __init__(self) -> None:
        self._used: dict[Hashable, float] = {}

    def keep(self, names: Iterable[Hashable]) -> None:
        """Forget all names except these, and add the missing ones."""
        present = set(names)
        least = min((used for name, used in self._used.items() if name in present), default=0.0)
        self._used = {name: self._used.get(name, least) for name in present}

    def used(self, name: Hashable) -> float:
        return self._used[name]

    def add(self, name: Hashable, amount: float) -> None:
        self._used[name] = self._used.get(name, 0.0) + amount
