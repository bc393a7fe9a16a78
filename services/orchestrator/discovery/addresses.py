"""The addresses of workers in the settings."""

from __future__ import annotations

import re

from motet.core.errors import SettingsError
from motet.transport.channel import checked_address
from services.orchestrator.discovery.dns import DnsSource
from services.orchestrator.discovery.endpoint import Endpoint, EndpointSource

_DNS = re.compile(r"dns:(?://(?P<server>[^/]*)/)?(?P<host>\[[^]]+\]|[^:/]+):(?P<port>\d+)")


def endpoint_or_source(address: str, dns_interval: float) -> Endpoint | EndpointSource:
    """Return the endpoint at an address, or the source that an address with the scheme dns names.

    A DNS name is resolved every `dns_interval` seconds. Raises `SettingsError` for anything else than an address.
    """
    if not address.startswith("dns:"):
        return Endpoint(checked_address(address))
    matched = _DNS.fullmatch(address)
    if matched is None or matched["server"] or not 0 < int(matched["port"]) <= 65535:
        raise SettingsError(
            f"{address!r} is not the address of workers: write dns:///HOST:PORT, without a DNS server",
            metadata={"address": address},
        )
    return DnsSource(matched["host"], int(matched["port"]), dns_interval)
