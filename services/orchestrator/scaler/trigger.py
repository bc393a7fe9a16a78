"""The metadata of a KEDA trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from motet.core.errors import RequestError
from motet.core.files.field_errors import nearest_name
from orchestrator.pool.demand import DEFAULT_TARGET
from orchestrator.settings import MAX_SECONDS

MIN_TARGET = 0.1
"""Minimum of the predicted seconds of work per replica."""

_SHOWN = 40
"""Maximum number of characters of a wrong value in an error."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A pool, and the predicted seconds of work for each of its replicas."""

    pool: str
    target: float

    @classmethod
    def parse(cls, metadata: Mapping[str, str], pools: Iterable[str]) -> Self:
        """Return the trigger of `scalerMetadata`. Raises `RequestError`, which says what to change."""
        names = sorted(pools)
        if (pool := metadata.get("pool", "")) not in names:
            nearest = nearest_name(pool, names) if pool else ""
            hint = f"; the nearest one is {nearest!r}" if nearest else ""
            raise RequestError(
                f"the trigger's metadata name the pool {pool[:_SHOWN]!r}: set pool to one of "
                f"{', '.join(map(repr, names))}{hint}",
                metadata={"field": "scalerMetadata.pool"},
            )
        return cls(pool, _target(metadata.get("targetSeconds", str(DEFAULT_TARGET))))


def _target(text: str) -> float:
    try:
        target = float(text)
    except ValueError:
        target = -1.0
    if not MIN_TARGET <= target <= MAX_SECONDS:
        raise RequestError(
            f"the trigger's targetSeconds are {text[:_SHOWN]!r}: set them to a number from {MIN_TARGET} to "
            f"{MAX_SECONDS:.0f}, the predicted seconds of work for one replica",
            metadata={"field": "scalerMetadata.targetSeconds"},
        )
    return target
