"""A worker of a pool, and how the pool learns its load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator.pool.replica import Loads

Worker = TypeVar("Worker")


@dataclass(frozen=True, slots=True)
class Member(Generic[Worker]):
    """A worker of a pool. `loads` opens the stream of its load, None is for this process. Log lines name `address`."""

    worker: Worker
    loads: Loads | None = None
    address: str = "this process"
