"""Motet for tests that are not about callers: one anonymous caller, or every caller alike."""

from __future__ import annotations

from typing import Any

from motet.core.caller import ANONYMOUS
from motet.core.service import MotetOf
from orchestrator.orchestrator import Orchestrator


class AnonymousOrchestrator(Orchestrator):
    """An orchestrator that has the methods of `Motet`, as the anonymous caller sees them."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.for_caller(ANONYMOUS), name)


def for_anyone(motet: Any) -> MotetOf:
    """Return a function that returns an orchestrator's Motet of each caller, or another Motet for all callers."""
    return motet.for_caller if isinstance(motet, Orchestrator) else lambda caller: motet
