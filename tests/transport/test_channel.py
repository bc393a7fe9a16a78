"""Tests of channels: several replicas behind one address, addresses and chunks."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import Reason, SettingsError
from motet.core.media import CHUNK_BYTES, chunks
from motet.core.telemetry.families import call_metrics
from motet.toys.workers import ToyDecoder
from motet.transport.channel import checked_address, open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from tests.transport.serving import JOB, served


class Replicas:
    """Two servers of a toy each."""

    def __init__(self) -> None:
        self.toys = [ToyDecoder(), ToyDecoder()]
        self.servers: list[Server] = []

    async def start(self, stack: AsyncExitStack) -> str:
        """Start the servers and return the address of both."""
        for toy in self.toys:
            server, _ = await stack.enter_async_context(served(toy))
            self.servers.append(server)
        return "ipv4:" + ",".join(server.address for server in self.servers)

    @property
    def calls(self) -> list[int]:
        """Number of calls that each toy has received."""
        return [len(toy.seen) for toy in self.toys]


async def decode(decoder: RemoteDecoder, times: int) -> None:
    for _ in range(times):
        assert len([event async for event in decoder.decode(JOB, Deadline.after(30))]) == 3


async def test_calls_alternate_between_replicas() -> None:
    replicas = Replicas()

    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(await replicas.start(stack)))
        decoder = RemoteDecoder(channel)
        while not all(replicas.calls):
            await decode(decoder, 1)
        before = replicas.calls
        await decode(decoder, 20)

    assert replicas.calls == [count + 10 for count in before]


async def test_no_call_fails_while_a_replica_drains_and_stops() -> None:
    replicas = Replicas()

    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(await replicas.start(stack), health=""))
        decoder = RemoteDecoder(channel)
        await decode(decoder, 4)
        await replicas.servers[0].drain(1)
        before = replicas.calls
        await decode(decoder, 20)
        await replicas.servers[0].stop()
        await decode(decoder, 20)

    assert replicas.calls == [before[0], before[1] + 40]


async def test_a_replica_that_is_not_serving_gets_no_calls() -> None:
    replicas = Replicas()
    refused = call_metrics.CALLS_REFUSED.labels(Reason.DRAINING)

    async with AsyncExitStack() as stack:
        address = await replicas.start(stack)
        channel = await stack.enter_async_context(open_channel(address, health="motet.internal.v1.DecoderService"))
        await decode(RemoteDecoder(channel), 4)
        await replicas.servers[0].drain(1)
        before = None
        while before != refused._value.get():  # calls are refused and retried until the channel has the new status
            before = refused._value.get()
            await decode(RemoteDecoder(channel), 4)
        await decode(RemoteDecoder(channel), 20)

    assert refused._value.get() == before


@pytest.mark.parametrize(
    "address",
    ["localhost:1", "10.0.0.1:65535", "[::1]:1", "dns:///a.b:1", "dns:a:1", "ipv4:1.2.3.4:1,1.2.3.5:2", "unix:/run/x"],
)
def test_valid_addresses(address: str) -> None:
    assert checked_address(address) == address


@pytest.mark.parametrize("address", ["", "x", "host:", ":1", "host:99999", "http://host:1", "a b:1", "a:1,b:2"])
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        checked_address(address)


def test_chunks_are_complete_and_none_is_too_large() -> None:
    for size in (0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES):
        pieces = list(chunks(bytes(size)))
        assert b"".join(pieces) == bytes(size)
        assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
