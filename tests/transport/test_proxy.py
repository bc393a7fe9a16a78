"""Connections use a proxy only where a setting asks for it, and never on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from motet.client import Client
from motet.core.errors import RetryableError, SettingsError
from motet.core.media import Media
from motet.toys.workers import ToyDecoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.proxy import proxy_of
from tests.scripted_motet import ScriptedMotet, serving
from tests.transport.serving import decoded, served

NOWHERE = "http://127.0.0.1:9"


@asynccontextmanager
async def http_proxy(target: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy that connects every caller with `target`, and its list of requested addresses."""
    requested: list[str] = []
    host, _, port = target.rpartition(":")
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        requested.append(head.split()[1].decode())
        target_reader, target_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        pipes.update(
            {asyncio.create_task(pipe(reader, target_writer)), asyncio.create_task(pipe(target_reader, writer))}
        )

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()), requested
    await asyncio.wait(pipes, timeout=30)


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a proxy that does not exist in all variables that gRPC reads."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, NOWHERE)


@pytest.mark.usefixtures("proxies")
async def test_a_proxy_in_the_environment_is_not_used() -> None:
    async with served(ToyDecoder()) as (_, channel):
        assert isinstance(await decoded(RemoteDecoder(channel)), Media)


@pytest.mark.usefixtures("proxies")
async def test_a_proxy_that_is_requested_is_used_for_a_remote_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ScriptedMotet()) as server, http_proxy(server.address) as (proxy, requested):
        async with Client("motet.test:50050", proxy=proxy) as client:
            assert await client.models()
        monkeypatch.setenv("MOTET_PROXY", proxy)
        async with Client("motet.test:50051") as client:
            assert await client.models()

    assert requested == ["motet.test:50050", "motet.test:50051"]


async def test_a_requested_proxy_is_not_used_for_this_machine() -> None:
    async with serving(ScriptedMotet()) as server, Client(server.address, proxy=NOWHERE) as client:
        assert await client.models()


async def test_the_error_names_the_proxy_without_its_password() -> None:
    async with Client("motet.test:50050", proxy="http://user:secret@127.0.0.1:9") as client:
        with pytest.raises(RetryableError) as caught:
            await client.models()

    text = "Motet at motet.test:50050, through the proxy http://127.0.0.1:9, cannot be reached"
    assert caught.value.message.startswith(text)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "dns:///localhost:1", "ipv4:127.0.0.1:1", "unix:/run/x"]
)
def test_an_address_of_this_machine_has_no_proxy(address: str) -> None:
    assert proxy_of(address, NOWHERE) == ""
    assert proxy_of("ipv4:10.0.0.1:1", NOWHERE) == NOWHERE


@pytest.mark.parametrize("proxy", ["127.0.0.1:9", "socks5://127.0.0.1:9", "http://proxy", "http://a:secret@b c:1"])
async def test_a_proxy_of_another_form_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(SettingsError, match="is not a proxy: write http://HOST:PORT") as caught:
        open_channel("motet.test:1", proxy=proxy)

    assert "secret" not in caught.value.message
