"""The connection of a command to Motet, in this process or at an address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from motet.core.service import Motet
from services.settings import ComputeSettings


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an orchestrator. Without an address, Motet runs in this process with `settings`."""

    server: str | None
    settings: ComputeSettings


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Motet]:
    """Yield Motet, local or remote. Raises `BundleError` and `SettingsError`."""
    if target.server is not None:
        from motet.client import Client

        async with Client(target.server) as client:
            yield client
        return
    from services.embedded import embedded
    from services.factory import Factory, open_bundle

    settings = target.settings
    factory = (
        Factory.of_toys(settings.toy_delay)
        if settings.toy
        else Factory.of_bundle(open_bundle(settings.bundle), settings.threads, settings.device)
    )
    async with embedded(factory) as motet:
        yield motet
