"""The share of a pool's slots that one tenant may take while other tenants are active."""

from __future__ import annotations

from math import inf
from typing import Any

from motet.scheduling.fair_queue import TENANT_SHARE
from orchestrator.pool.ready.ready_replicas import ReadyReplicas

_SHARE = TENANT_SHARE / (TENANT_SHARE + 1)

_ACTIVE = 10.0
"""Time after its last call for which a tenant counts as active, in seconds."""


class SlotShare:
    """Leaves free slots for other active tenants, so that their next calls do not wait for the end of a running call.

    A tenant that is alone may take all slots. While another one is active, it may take four fifths of those that others
    leave, rounded: 2 of 3, 3 of 4, 6 of 8, 13 of 16, but at least one. `replicas` are those of the pool that may get
    calls.
    """

    def __init__(self, replicas: ReadyReplicas[Any]) -> None:
        self._replicas = replicas
        self._latest = self._latest_other = ("", -inf)
        """The tenant of the latest call and its time, and the same of the latest call of another tenant."""

    def note(self, tenant: str, now: float) -> None:
        """Record that a tenant has a call."""
        if tenant != self._latest[0]:
            self._latest_other = self._latest
        self._latest = (tenant, now)

    def permits(self, tenant: str, now: float) -> bool:
        """Return whether a tenant may take one more slot."""
        other = self._latest if self._latest[0] != tenant else self._latest_other
        if now - other[1] > _ACTIVE:
            return True
        if self._replicas.unlimited:
            return True
        own = self._replicas.running[tenant]
        return own < max(1, round(_SHARE * (own + self._replicas.free_slots)))
