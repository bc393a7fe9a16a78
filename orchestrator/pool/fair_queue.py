"""Who goes next."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from motet.core.request import PRIORITIES
from orchestrator.pool.queued_call import QueuedCall

REMEMBERED = 1024
"""Tenants whose service is remembered although nothing of theirs waits."""


@dataclass(slots=True)
class _Line:
    """One tenant's tickets of one priority, in the order they came, and when one of them was served last."""

    tickets: dict[QueuedCall, None] = field(default_factory=dict)
    served: float = -inf


class FairQueue:
    """Tickets in the order in which they should be served: the most urgent first, then the tenant that got least.

    One tenant's tickets of one priority are a line. A line that is passed over gets more urgent, one priority every
    `ageing` seconds, until it is among the most urgent, where only fairness decides: so nothing starves. Of lines that
    are as urgent, and always have something waiting, the seconds of work served to any two tenants differ by no more
    than the largest two tickets. A tenant that comes, or comes back, starts level with the others, whatever it was not
    served while it asked for nothing (start-time fair queueing).
    """

    def __init__(self, ageing: float) -> None:
        self._ageing = ageing
        self._lines: dict[tuple[str, int], _Line] = {}
        self._owned: dict[str, float] = {}
        """Tenant to its waiting seconds; only tenants with tickets here."""
        self._served: dict[str, float] = {}
        """Tenant to the seconds of work served to it, those forgiven included."""
        self._level = 0.0
        """What a tenant that comes now is taken to have been served."""
        self.seconds = 0.0
        """Predicted seconds of work of all tickets."""

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __contains__(self, ticket: QueuedCall) -> bool:
        line = self._lines.get((ticket.tenant, ticket.priority))
        return line is not None and ticket in line.tickets

    def seconds_of(self, tenant: str) -> float:
        """Predicted seconds of work of a tenant's tickets."""
        return self._owned.get(tenant, 0.0)

    def add(self, ticket: QueuedCall) -> None:
        """Let a ticket wait."""
        tenant = ticket.tenant
        if tenant not in self._owned:
            self._served[tenant] = max(self._served.get(tenant, 0.0), self._level)
        self._owned[tenant] = self._owned.get(tenant, 0.0) + ticket.cost
        self._lines.setdefault((tenant, ticket.priority), _Line()).tickets[ticket] = None
        self.seconds += ticket.cost

    def remove(self, ticket: QueuedCall) -> None:
        """A ticket waits no more; nothing happens if it did not."""
        key = ticket.tenant, ticket.priority
        line = self._lines.get(key)
        if line is None or ticket not in line.tickets:
            return
        del line.tickets[ticket]
        if not line.tickets:
            del self._lines[key]
        # Sums of floats drift; where nothing is left, nothing is what is left.
        self.seconds = self.seconds - ticket.cost if self._lines else 0.0
        self._owned[ticket.tenant] -= ticket.cost
        if not any((ticket.tenant, priority) in self._lines for priority in PRIORITIES):
            del self._owned[ticket.tenant]

    def first(self, now: float) -> QueuedCall | None:
        """The ticket that should be served next, of those that could start; it stays here."""
        best: tuple[tuple[int, float, float], QueuedCall] | None = None
        for (tenant, priority), line in self._lines.items():
            ticket = next((ticket for ticket in line.tickets if ticket.waiting), None)
            if ticket is None:
                continue
            passed_over = now - max(ticket.since, line.served)
            urgency = min(PRIORITIES[-1], priority + int(passed_over / self._ageing))
            key = (-urgency, self._served[tenant], ticket.since)
            if best is None or key < best[0]:
                best = key, ticket
        return best[1] if best else None

    def charge(self, ticket: QueuedCall, now: float) -> None:
        """A ticket is served, whether it had to wait here or not."""
        if (line := self._lines.get((ticket.tenant, ticket.priority))) is not None:
            line.served = now
        start = max(self._served.get(ticket.tenant, 0.0), self._level)
        # The level rises with whoever was served least, of those that wait and the one that waits no more.
        self._level = min([start, *(self._served[tenant] for tenant in self._owned)])
        self._served[ticket.tenant] = start + ticket.cost
        if len(self._served) > REMEMBERED + len(self._owned):
            self._forget()

    def _forget(self) -> None:
        """Forget the half of the idle tenants that was served least: they will start level with the others."""
        idle = sorted((tenant for tenant in self._served if tenant not in self._owned), key=self._served.__getitem__)
        for tenant in idle[: len(idle) // 2]:
            del self._served[tenant]
