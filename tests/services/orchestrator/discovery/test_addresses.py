"""Tests of the addresses of workers."""

from __future__ import annotations

import pytest

from motet.core.errors import SettingsError
from services.orchestrator.discovery.addresses import endpoint_or_source
from services.orchestrator.discovery.dns import DnsSource
from services.orchestrator.discovery.endpoint import Endpoint


@pytest.mark.parametrize("address", ["decoder:50053", "10.0.0.1:1", "[::1]:1", "unix:/run/decoder"])
def test_an_address_without_a_scheme_is_one_endpoint(address: str) -> None:
    assert endpoint_or_source(address, 5) == Endpoint(address)


@pytest.mark.parametrize("address", ["dns:///decoder.motet.svc:50053", "dns:decoder.motet.svc:50053"])
def test_a_dns_address_is_a_source(address: str) -> None:
    source = endpoint_or_source(address, 5)

    assert isinstance(source, DnsSource)
    assert str(source) == "dns:///decoder.motet.svc:50053"


@pytest.mark.parametrize(
    "address", ["dns://10.0.0.10/decoder:50053", "dns:///decoder", "dns:///decoder:0", "dns:///decoder:70000"]
)
def test_a_dns_address_has_a_host_and_a_port_and_no_server(address: str) -> None:
    with pytest.raises(SettingsError, match=r"write dns:///HOST:PORT, without a DNS server"):
        endpoint_or_source(address, 5)


@pytest.mark.parametrize("address", ["decoder", "http://decoder:1", "decoder:99999"])
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not an address"):
        endpoint_or_source(address, 5)
