"""Endpoints from the addresses of a DNS name."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from random import Random

from services.orchestrator.discovery.endpoint import Endpoint, Endpoints

_JITTER = 0.1
"""Relative random change of each interval, so that orchestrators do not ask a DNS server at the same time."""

_ABSENT = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""Errors of a name that has no address now. All other errors say that the DNS server did not answer."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the IP addresses of a host. Raises `OSError`."""

logger = logging.getLogger(__name__)


async def resolve_all(host: str, port: int) -> list[str]:
    """Return all IPv4 and IPv6 addresses of a host, as the operating system resolves it. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class DnsSource:
    """The endpoints of a name whose addresses are those of the replicas, such as that of a headless Service.

    The name is resolved every `interval` seconds. A name without an address has no endpoints. While the DNS server does
    not answer, the last endpoints stay. The certificate of each replica must have the name.
    """

    def __init__(self, host: str, port: int, interval: float, resolve: Resolve = resolve_all) -> None:
        self._host = host
        self._port = port
        self._interval = interval
        self._resolve = resolve
        self._random = Random()

    def __str__(self) -> str:
        return f"dns:///{self._host}:{self._port}"

    async def watch(self) -> AsyncGenerator[Endpoints, None]:
        """Implement `EndpointSource.watch`."""
        latest: Endpoints | None = None
        failed = False
        while True:
            try:
                addresses = await self._addresses()
            except OSError as error:
                if not failed:
                    logger.warning("%s cannot be resolved, the last replicas stay: %s", self, error.strerror)
                failed = True
            else:
                failed = False
                endpoints = tuple(Endpoint(self._address(ip), self._host) for ip in sorted(set(addresses)))
                if endpoints != latest:
                    latest = endpoints
                    yield endpoints
            await asyncio.sleep(self._interval * self._random.uniform(1 - _JITTER, 1 + _JITTER))

    async def _addresses(self) -> list[str]:
        try:
            return await self._resolve(self._host, self._port)
        except socket.gaierror as error:
            if error.errno in _ABSENT:
                return []
            raise

    def _address(self, ip: str) -> str:
        return f"[{ip}]:{self._port}" if ":" in ip else f"{ip}:{self._port}"
