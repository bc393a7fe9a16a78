"""The connection of a command to Motet, in this process or at an address."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from motet.core.errors import SettingsError
from motet.core.service import Motet
from services.cli.typer_options import values_of
from services.settings import FILE, ComputeSettings, refuse_ignored, settings_of
from services.terminal import print_status

if TYPE_CHECKING:
    import grpc


class ConnectionSettings(BaseSettings):
    """Settings of the connection to an orchestrator at an address."""

    model_config = SettingsConfigDict(env_prefix="MOTET_", env_ignore_empty=True, frozen=True, extra="forbid")

    tls_ca: Path | None = Field(
        None,
        description="PEM file of the authorities of the orchestrator's certificate. With it, the connection uses TLS.",
        json_schema_extra=FILE,
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of your certificate, for a server that requires one.", json_schema_extra=FILE
    )
    tls_key: Path | None = Field(None, description="PEM file of the private key of --tls-cert.", json_schema_extra=FILE)
    key_file: Path | None = Field(
        None,
        description="File that holds your API key. Without it, MOTET_API_KEY may be the key.",
        json_schema_extra=FILE,
    )
    allow_insecure: bool = Field(False, description="Send the API key to another machine also without encryption.")

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials, or None for plain text. Raises `SettingsError` for a wrong file."""
        from motet.client.credentials import optional_tls_credentials

        return optional_tls_credentials(self.tls_ca, self.tls_cert, self.tls_key)

    def api_key(self) -> str | None:
        """Return the API key in the file, or None without a file. Raises `SettingsError` for a wrong file."""
        if self.key_file is None:
            return None
        try:
            key = self.key_file.read_text(encoding="ascii").strip()
            readable = self.key_file.stat().st_mode & stat.S_IROTH
        except (OSError, UnicodeError):
            raise SettingsError(f"{self.key_file} is not a file with an API key that you can read") from None
        if not key:
            raise SettingsError(f"{self.key_file} is empty: write the API key into it")
        if readable:
            print_status(f"every user of this machine can read the key in {self.key_file}: remove that permission")
        return key


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an orchestrator. Without an address, Motet runs in this process with `settings`."""

    server: str | None
    settings: ComputeSettings
    connection: ConnectionSettings


def target_of(server: str | None, options: Mapping[str, Any]) -> Target:
    """Return the target of typed options. Without any, `MOTET_SERVER` is the server, if it is set.

    Raises `SettingsError` for an option that has no effect.
    """
    typed = values_of(ComputeSettings, options)
    if server is None and all(value is None for value in typed.values()):
        server = os.environ.get("MOTET_SERVER") or None
    connection = values_of(ConnectionSettings, options)
    if server is not None:
        refuse_ignored("--server", typed, typed)
    elif ignored := [name for name, value in connection.items() if value is not None]:
        raise SettingsError(f"--{ignored[0].replace('_', '-')} has no effect without --server: add the address")
    return Target(server, settings_of(ComputeSettings, typed), settings_of(ConnectionSettings, connection))


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

        options = target.connection
        async with Client(
            target.server,
            credentials=options.credentials(),
            api_key=options.api_key(),
            allow_insecure=options.allow_insecure,
        ) as client:
            yield client
        return
    from services.embedded import embedded
    from services.factory import Factory, open_bundle

    settings = target.settings
    factory = (
        Factory.of_toys(settings.toy_delay)
        if settings.toy
        else Factory.of_bundle(open_bundle(settings.bundle), settings.threads, settings.device, settings.dtype)
    )
    # Toys load at once.
    async with embedded(factory, () if settings.toy else preload) as motet:
        yield motet
