"""The place of one replica, and the sources that find replicas."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a replica, and the name that its certificate must have, or "" for the host of the address."""

    address: str
    server_name: str = ""


Endpoints = tuple[Endpoint, ...]


class EndpointSource(Protocol):
    """A source of the endpoints of one kind of worker."""

    def watch(self) -> AsyncGenerator[Endpoints, None]:
        """Yield all present endpoints, and all of them once more after each change. Never end.

        While the source cannot be reached, nothing is yielded, so the last endpoints stay. Raises `SettingsError`
        before the first endpoints if the settings must be changed.
        """
        ...

    def __str__(self) -> str:
        """Return the address of the source, as in the settings."""
        ...
