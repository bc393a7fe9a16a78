"""Tests of endpoints from DNS names."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing

import pytest

from services.orchestrator.discovery.dns import DnsSource, resolve_all
from services.orchestrator.discovery.endpoint import Endpoint
from tests.waiting import in_virtual_time


class Names:
    """A resolver with the results that a test sets."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | OSError = list(addresses)
        self.count = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        self.count += 1
        assert (host, port) == ("decoder", 50)
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses


def source_of(names: Names) -> DnsSource:
    return DnsSource("decoder", 50, 5.0, names.resolve)


@in_virtual_time
async def test_each_address_of_a_name_is_an_endpoint_whose_certificate_has_the_name() -> None:
    async with aclosing(source_of(Names("10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2")).watch()) as found:
        assert await anext(found) == (
            Endpoint("10.0.0.1:50", "decoder"),
            Endpoint("10.0.0.2:50", "decoder"),
            Endpoint("[fd00::1]:50", "decoder"),
        )


@in_virtual_time
async def test_endpoints_follow_the_addresses_of_the_name() -> None:
    names = Names("10.0.0.1")
    async with aclosing(source_of(names).watch()) as found:
        await anext(found)
        names.addresses = ["10.0.0.2", "10.0.0.1"]
        assert [endpoint.address for endpoint in await anext(found)] == ["10.0.0.1:50", "10.0.0.2:50"]
        assert names.count == 2
        change = asyncio.ensure_future(anext(found))
        names.addresses = ["10.0.0.1", "10.0.0.2"]
        await asyncio.sleep(60)
        assert not change.done(), "another order is no change"
        assert 11 <= names.count <= 16, "about every 5 seconds"
        names.addresses = ["10.0.0.3"]
        assert [endpoint.address for endpoint in await change] == ["10.0.0.3:50"]


@in_virtual_time
@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
async def test_a_name_without_an_address_has_no_endpoints(code: int) -> None:
    names = Names("10.0.0.1")
    async with aclosing(source_of(names).watch()) as found:
        await anext(found)
        names.addresses = socket.gaierror(code, "no address")
        assert await anext(found) == ()


@in_virtual_time
@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "no answer"), OSError(24, "too many files")])
async def test_the_last_endpoints_stay_while_the_dns_server_does_not_answer(error: OSError) -> None:
    names = Names("10.0.0.1")
    async with aclosing(source_of(names).watch()) as found:
        await anext(found)
        change = asyncio.ensure_future(anext(found))
        names.addresses = error
        await asyncio.sleep(60)
        assert not change.done()
        names.addresses = ["10.0.0.2"]
        assert [endpoint.address for endpoint in await change] == ["10.0.0.2:50"]


async def test_the_names_of_this_machine_are_resolved() -> None:
    assert "127.0.0.1" in await resolve_all("localhost", 1)
