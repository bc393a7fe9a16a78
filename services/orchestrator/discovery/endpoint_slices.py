"""The endpoints of a Kubernetes Service, from its EndpointSlices."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.orchestrator.discovery.endpoint import Endpoint, Endpoints

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _SliceEndpoint:
    """An endpoint of a slice. `ready` endpoints get calls. A `serving` one may be terminating."""

    address: str
    ready: bool
    serving: bool


class EndpointSlices:
    """The present slices of one Service. Its pods have a port with a name or number, and a common server name.

    Objects are those of the API `discovery.k8s.io/v1`, as JSON. Methods raise `KeyError`, `TypeError`, `ValueError` or
    `AttributeError` for an object of another form.
    """

    def __init__(self, port: str, server_name: str) -> None:
        self._port = port
        self._server_name = server_name
        self._slices: dict[str, tuple[_SliceEndpoint, ...]] = {}
        """The endpoints of each slice, by the name of the slice."""
        self._warned = False

    def replace(self, slices: Iterable[Mapping[str, Any]]) -> None:
        """Set all slices."""
        self._slices = {each["metadata"]["name"]: self._parse(each) for each in slices}

    def set(self, slice: Mapping[str, Any]) -> None:
        """Add a slice, or replace the one of the same name."""
        self._slices[slice["metadata"]["name"]] = self._parse(slice)

    def remove(self, slice: Mapping[str, Any]) -> None:
        """Remove a slice."""
        self._slices.pop(slice["metadata"]["name"], None)

    def endpoints(self) -> Endpoints:
        """Return the ready endpoints of all slices. If there are none, return those that still serve.

        An endpoint that moves to another slice may be in both for a moment, and is ready if one of them says so.
        """
        found = [each for endpoints in self._slices.values() for each in endpoints]
        chosen = [each for each in found if each.ready] or [each for each in found if each.serving]
        return tuple(Endpoint(address, self._server_name) for address in sorted({each.address for each in chosen}))

    def _parse(self, slice: Mapping[str, Any]) -> tuple[_SliceEndpoint, ...]:
        endpoints = slice.get("endpoints") or ()
        port = self._port_of(slice.get("ports") or ())
        if port is None:
            if endpoints and not self._warned:
                names = ", ".join(str(each.get("name") or each.get("port")) for each in slice.get("ports") or ())
                logger.error("the pods of %s have no port %s, only: %s", self._server_name, self._port, names or "none")
                self._warned = True
            return ()
        return tuple(_parse_endpoint(each, port) for each in endpoints)

    def _port_of(self, ports: Iterable[Mapping[str, Any]]) -> int | None:
        """Return the number of the port, or None if the slice has no such port."""
        if self._port.isdecimal():
            # A headless Service without ports has slices without ports.
            numbers = [each.get("port") for each in ports]
            return int(self._port) if not numbers or int(self._port) in numbers else None
        return next((int(each["port"]) for each in ports if each.get("name") == self._port), None)


def _parse_endpoint(endpoint: Mapping[str, Any], port: int) -> _SliceEndpoint:
    # All addresses of an endpoint are those of one pod. The API says that the first one is to be used.
    host: str = endpoint["addresses"][0]
    conditions = endpoint.get("conditions") or {}
    # A condition that is unknown counts as true, and `serving` as `ready`.
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return _SliceEndpoint(address, ready, ready if serving is None else bool(serving))
