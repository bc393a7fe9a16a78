"""Endpoints of metrics, and the sources that know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from motet.core.errors import Reason, RetryableError


class EndpointError(RetryableError):
    """An endpoint sends no metrics. The message is short, for a cell of a table."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Reason.WORKER_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class MetricsEndpoint:
    """The endpoint of a process. `name` and `address` are for people, and differ from those of other endpoints.

    `read` returns the text of the metrics within bounded time. It raises `MotetError`.
    """

    name: str
    address: str
    read: Callable[[], Awaitable[str]]


class MetricsSource(Protocol):
    """A source of the endpoints of a deployment, which may change while it is watched."""

    async def endpoints(self) -> Sequence[MetricsEndpoint]:
        """Return the endpoints in their order on the screen. Raises `MotetError` if none can be known."""
        ...
