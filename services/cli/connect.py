"""The connection of a command to Motet, in this process or at an address."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from motet.core.service import Motet
from services.cli.typer_options import values_of
from services.settings import ComputeSettings, refuse_ignored, settings_of


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an orchestrator. Without an address, Motet runs in this process with `settings`."""

    server: str | None
    settings: ComputeSettings


def target_of(server: str | None, options: Mapping[str, Any]) -> Target:
    """Return the target of typed options. Without any, `MOTET_SERVER` is the server, if it is set.

    Raises `SettingsError` for an option that has no effect.
    """
    typed = values_of(ComputeSettings, options)
    if server is None and all(value is None for value in typed.values()):
        server = os.environ.get("MOTET_SERVER") or None
    if server is not None:
        refuse_ignored("--server", typed, typed)
    return Target(server, settings_of(ComputeSettings, typed))


@contextmanager
def connected(target: Target, preload: Sequence[str] = ()) -> Iterator[tuple[asyncio.Runner, Motet]]:
    """Yield an event loop, and Motet, for a command that also waits for a person. Raises as `connect` does.

    The loop does not run while the person types, so Ctrl-C has its usual effect then. Workers load on their threads.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        motet = runner.run(stack.enter_async_context(connect(target, preload)))
        try:
            yield runner, motet
        finally:
            runner.run(stack.aclose())


@asynccontextmanager
async def connect(target: Target, preload: Sequence[str] = ()) -> AsyncIterator[Motet]:
    """Yield Motet, local or remote. Raises `BundleError` and `SettingsError`.

    In this process, the workers that `preload` names begin to load at once, see `embedded`.
    """
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
    # Toys load at once.
    async with embedded(factory, () if settings.toy else preload) as motet:
        yield motet
