"""A double of the API server of Kubernetes. No Kubernetes is involved: it only answers as one does."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from services.orchestrator.discovery.service_account import ServiceAccount
from services.up.certificate_authority import CertificateAuthority

Json = dict[str, Any]


def endpoint(ip: str, ready: bool | None = True, **conditions: bool) -> Json:
    """Return an endpoint of a slice."""
    known = {} if ready is None else {"ready": ready}
    return {"addresses": [ip], "conditions": known | conditions, "targetRef": {"kind": "Pod", "name": f"pod-{ip}"}}


def slice_of(name: str, *endpoints: Json, service: str = "decoder", port: int = 50, port_name: str = "grpc") -> Json:
    """Return an EndpointSlice."""
    return {
        "metadata": {"name": name, "namespace": "motet", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "metrics", "port": 9, "protocol": "TCP"}, {"name": port_name, "port": port}],
    }


class KubernetesDouble:
    """An HTTPS server for the EndpointSlices of the namespace motet: lists in pages, watches, bookmarks and expiry.

    It is a double of the API server. `account` is the service account of a pod of this cluster.
    """

    def __init__(self, folder: Path) -> None:
        self._authority = CertificateAuthority(folder)
        pair = self._authority.issue("api-server")
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(pair.certificate, pair.key)
        self._authority.certificate.rename(folder / "ca.crt")
        (folder / "namespace").write_text("motet")
        self.account = ServiceAccount(folder)
        self.token = self.set_token("first")
        self.forbidden = False
        self.port = 0
        self.requests: list[dict[str, str]] = []
        """The parameters of each request, in order."""
        self.watches = 0
        """Number of running watches."""
        self._version = self._oldest = 100
        self._slices: dict[str, Json] = {}
        self._history: list[tuple[int, Json]] = []
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def set_token(self, token: str) -> str:
        """Write a new token into the files of the service account. Only the latest token is valid."""
        (self.account.folder / "token").write_text(token)
        self.token = token
        return token

    def put(self, *slices: Json) -> None:
        """Add slices, or replace those of the same names."""
        for each in slices:
            name = each["metadata"]["name"]
            kind = "MODIFIED" if name in self._slices else "ADDED"
            self._slices[name] = each
            self._record(kind, each)

    def delete(self, *names: str) -> None:
        """Delete slices."""
        for name in names:
            self._record("DELETED", self._slices.pop(name))

    def bookmark(self) -> None:
        """Send a bookmark to all watches."""
        self._record("BOOKMARK", {"kind": "EndpointSlice", "metadata": {"resourceVersion": ""}})

    def send(self, event: Json) -> None:
        """Send an event of any form to all watches."""
        self._history.append((self._version, event))
        self._wake()

    def forget(self, version: int | None = None) -> None:
        """Forget what was before a version, by default before now, as etcd does. An older watch is expired then."""
        if version is None:
            self._version += 1
        self._oldest = version or self._version

    async def end_watches(self) -> None:
        """End all watches, as a timeout does."""
        self._ending.set()
        while self.watches:
            await asyncio.sleep(0.001)
        self._ending.clear()

    async def start(self) -> None:
        """Serve, at the same port as before."""
        app = web.Application()
        app.router.add_get("/apis/discovery.k8s.io/v1/namespaces/motet/endpointslices", self._answer)
        self.add_routes(app.router)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add what a double of more than the EndpointSlices serves."""

    def is_authenticated(self, request: web.Request) -> bool:
        """Return whether a request has the latest token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return (kind.lower(), token) == ("bearer", self.token)

    async def stop(self) -> None:
        """End all connections, and refuse new ones."""
        await self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _record(self, kind: str, changed: Json) -> None:
        self._version += 1
        changed["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, {"type": kind, "object": json.loads(json.dumps(changed))}))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query))
        if not self.is_authenticated(request):
            return status_response(401, "Unauthorized")
        if self.forbidden:
            return status_response(403, "endpointslices.discovery.k8s.io is forbidden")
        selected = request.query["labelSelector"].removeprefix("kubernetes.io/service-name=")
        if request.query.get("watch") == "true":
            return await self._watch(request, selected)
        return self._list(request, selected)

    def _list(self, request: web.Request, service: str) -> web.Response:
        found = [each for _, each in sorted(self._slices.items()) if _service_of(each) == service]
        begin, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        metadata = {"resourceVersion": str(self._version)}
        if begin + limit < len(found):
            metadata["continue"] = str(begin + limit)
        return web.json_response({"metadata": metadata, "items": found[begin : begin + limit]})

    async def _watch(self, request: web.Request, service: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        sent = int(request.query["resourceVersion"])
        if sent < self._oldest:
            expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": expired}).encode() + b"\n")
            return response
        position = sum(version <= sent for version, _ in self._history)
        self.watches += 1
        try:
            while not self._ending.is_set():
                changed = self._changed
                for _, event in self._history[position:]:
                    position += 1
                    if event["type"] in ("ERROR", "BOOKMARK") or _service_of(event["object"]) == service:
                        await response.write(json.dumps(event).encode() + b"\n")
                    if event["type"] == "ERROR":
                        return response
                waits = [asyncio.ensure_future(each.wait()) for each in (changed, self._ending)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        finally:
            self.watches -= 1
        return response


def _service_of(slice: Json) -> Any:
    return slice.get("metadata", {}).get("labels", {}).get("kubernetes.io/service-name")


def status_response(code: int, message: str) -> web.Response:
    """Return an error as the API server sends it."""
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def addresses_of(endpoints: Sequence[Any]) -> list[str]:
    """Return the addresses of endpoints."""
    return [endpoint.address for endpoint in endpoints]
