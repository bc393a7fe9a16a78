"""Where the command line finds Motet: in this process, or at an address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from motet.core.service import Motet


@dataclass(frozen=True, slots=True)
class Target:
    """What a command was told about it. `server` is an address; without one, Motet runs here with `bundle`."""

    server: str | None = None
    bundle: str = "nano"
    threads: int = 1
    toy: bool = False
    toy_delay: float = 0.0
    device: str = "auto"


@asynccontextmanager
async def connect(whereabouts: Target) -> AsyncIterator[Motet]:
    """Motet; whoever holds it cannot tell where it is. Raises `BundleError` and `SettingsError`."""
    if whereabouts.server is not None:
        from motet.client import Client

        async with Client(whereabouts.server) as client:
            yield client
        return
    from services.embedded import embedded
    from services.factory import Factory, open_bundle

    factory = (
        Factory.of_toys(whereabouts.toy_delay)
        if whereabouts.toy
        else Factory.of_bundle(open_bundle(whereabouts.bundle), whereabouts.threads, whereabouts.device)
    )
    async with embedded(factory) as motet:
        yield motet
