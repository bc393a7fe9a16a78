"""A double of the API server of Kubernetes for Helm. No Kubernetes is involved: it only stores objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import yaml
from aiohttp import web

from tests.deploy.chart import NEWEST, Object
from tests.deploy.lifecycle import discovery_documents as documents
from tests.deploy.lifecycle.release_secret import MEDIA_TYPE, secret_of

Key = tuple[str, str]
"""The kind and the name of an object."""

NAMESPACE = "ml"
_IMMUTABLE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "Job": (("spec", "template"),),
    "PersistentVolumeClaim": (("spec", "accessModes"), ("spec", "storageClassName")),
    "Pod": (("spec",),),
    "ResourceClaimTemplate": (("spec",),),
    "RoleBinding": (("roleRef",),),
    "Service": (("spec", "clusterIP"),),
}
"""The fields that an API server does not change in an existing object."""


@dataclass
class ApiDouble:
    """An HTTP server that stores the objects of one namespace. It is a double: it runs nothing and adds no defaults.

    It refuses an object for which `errors_of` returns errors, and changes of immutable fields. A Deployment is
    available unless its name is in `unavailable`. A pod ends at once: it fails if its name is in `failing`.
    """

    errors_of: Callable[[Object], list[str]]
    failing: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)
    objects: dict[Key, Object] = field(default_factory=dict)
    created: list[Key] = field(default_factory=list)
    """Each object that was created, in order."""
    unknown: list[str] = field(default_factory=list)
    """Requests that the double does not know."""
    url: str = ""
    _revision: int = 1
    _watches: list[tuple[str, asyncio.Queue[Object]]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        match request.path.strip("/").split("/"):
            case ["version"]:
                major, minor = NEWEST.split(".")
                return web.json_response({"major": major, "minor": minor, "gitVersion": f"v{NEWEST}.0"})
            case ["api"]:
                return web.json_response({"kind": "APIVersions", "versions": ["v1"]})
            case ["apis"]:
                return web.json_response(documents.groups())
            case ["api", "v1"]:
                return web.json_response(documents.resources("v1"))
            case ["apis", group, version]:
                return web.json_response(documents.resources(f"{group}/{version}"))
            case ["openapi", "v3"]:
                return web.json_response(documents.openapi_paths())
            case ["openapi", "v3", "api", "v1"]:
                return web.json_response(documents.openapi("v1"))
            case ["openapi", "v3", "apis", group, version]:
                return web.json_response(documents.openapi(f"{group}/{version}"))
            case ["api", "v1", "namespaces", namespace] if namespace == NAMESPACE:
                return web.json_response({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            case ["api", "v1", "namespaces", namespace, plural, *name] if namespace == NAMESPACE:
                return await self._answer_objects(request, "v1", plural, name)
            case ["apis", group, version, "namespaces", namespace, plural, *name] if namespace == NAMESPACE:
                return await self._answer_objects(request, f"{group}/{version}", plural, name)
        return self._not_known(request)

    async def _answer_objects(self, request: web.Request, api: str, plural: str, path: list[str]) -> web.StreamResponse:
        kind = {plural: kind for kind, plural in documents.KINDS.get(api, {}).items()}.get(plural)
        if kind is None:
            return self._not_known(request)
        match request.method, path:
            case "GET", []:
                return (
                    await self._watch(request, api, kind)
                    if "watch" in request.query
                    else self._list(request, api, kind)
                )
            case "GET", [name, "log"]:
                return web.Response(text=f"log of {name}\n")
            case "GET", [name]:
                found = self.objects.get((kind, name))
                return web.json_response(found) if found else _missing(kind, name)
            case "POST", []:
                return self._create(api, kind, await _body(request))
            case "PUT", [_]:
                return self._store(api, kind, await _body(request))
            case "PATCH", [_] if request.content_type == "application/apply-patch+yaml":
                # Helm is the only one that sets fields, so its configuration is the whole object.
                return self._store(api, kind, await _body(request))
            case "DELETE", [name]:
                return self._delete(kind, name)
        return self._not_known(request)

    def _list(self, request: web.Request, api: str, kind: str) -> web.Response:
        metadata = {"resourceVersion": str(self._revision)}
        items = self._selected(request, kind)
        return web.json_response({"apiVersion": api, "kind": f"{kind}List", "metadata": metadata, "items": items})

    def _selected(self, request: web.Request, kind: str) -> list[Object]:
        selector = request.query.get("labelSelector", "")
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        found = [each for (other, _), each in self.objects.items() if other == kind]
        return [each for each in found if wanted.items() <= each["metadata"].get("labels", {}).items()]

    def _create(self, api: str, kind: str, sent: Object) -> web.Response:
        name = sent["metadata"]["name"]
        if (kind, name) in self.objects:
            return _status(409, "AlreadyExists", f"{kind} {name} already exists")
        return self._store(api, kind, sent)

    def _store(self, api: str, kind: str, sent: Object) -> web.Response:
        name = sent["metadata"]["name"]
        before = self.objects.get((kind, name))
        errors = self.errors_of(sent)
        if before is not None:
            changed = [path for path in _IMMUTABLE.get(kind, ()) if _at(before, path) != _at(sent, path)]
            errors += [f"{kind} {name}: {'.'.join(path)}: field is immutable" for path in changed]
        if errors:
            return _status(422, "Invalid", "; ".join(errors))
        if before is None:
            self.created.append((kind, name))
        self._revision += 1
        metadata = {"namespace": NAMESPACE, "uid": name, "resourceVersion": str(self._revision), "generation": 1}
        status = self._status_of(kind, name, sent)
        stored = {
            **sent,
            "apiVersion": api,
            "kind": kind,
            "metadata": {**sent["metadata"], **metadata},
            "status": status,
        }
        self.objects[kind, name] = stored
        self._notify("MODIFIED" if before else "ADDED", stored)
        return web.json_response(stored, status=200 if before else 201)

    def _delete(self, kind: str, name: str) -> web.Response:
        found = self.objects.pop((kind, name), None)
        if found is None:
            return _missing(kind, name)
        self._notify("DELETED", found)
        return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _status_of(self, kind: str, name: str, sent: Object) -> Object:
        """Return the status that controllers would write in the end."""
        match kind:
            case "Deployment":
                wanted = sent["spec"].get("replicas", 1)
                ready = 0 if name in self.unavailable else wanted
                counts = dict.fromkeys(("readyReplicas", "availableReplicas"), ready)
                progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
                available = {"type": "Available", "status": "True"}
                counts |= {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted}
                return counts | {"conditions": [progress, available]}
            case "Pod":
                return {"phase": "Failed" if name in self.failing else "Succeeded"}
            case "Job":
                return {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}
            case "PersistentVolumeClaim":
                return {"phase": "Bound"}
            case "PodDisruptionBudget":
                return {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 1}
        return {}

    def _notify(self, event: str, each: Object) -> None:
        for kind, queue in self._watches:
            if kind == each["kind"]:
                queue.put_nowait({"type": event, "object": each})

    async def _watch(self, request: web.Request, api: str, kind: str) -> web.StreamResponse:
        """Send all objects of a kind, a bookmark, and then each change until the caller closes the connection."""
        response = web.StreamResponse(headers={"content-type": "application/json"})
        queue: asyncio.Queue[Object] = asyncio.Queue()
        for each in self._selected(request, kind):
            queue.put_nowait({"type": "ADDED", "object": each})
        end = {"resourceVersion": str(self._revision), "annotations": {"k8s.io/initial-events-end": "true"}}
        queue.put_nowait({"type": "BOOKMARK", "object": {"apiVersion": api, "kind": kind, "metadata": end}})
        self._watches.append((kind, queue))
        try:
            await response.prepare(request)
            while True:
                await response.write(json.dumps(await queue.get()).encode() + b"\n")
        except ConnectionError:
            return response
        finally:
            self._watches.remove((kind, queue))

    def _not_known(self, request: web.Request) -> web.Response:
        self.unknown.append(f"{request.method} {request.path_qs} {request.content_type}")
        return _status(404, "NotFound", "the double does not know this request")


async def _body(request: web.Request) -> Object:
    body = await request.read()
    return secret_of(body) if request.content_type == MEDIA_TYPE else dict(yaml.load(body, yaml.CSafeLoader))


def _at(each: Object, path: tuple[str, ...]) -> Any:
    place: Any = each
    for key in path:
        place = (place or {}).get(key)
    return place


def _missing(kind: str, name: str) -> web.Response:
    return _status(404, "NotFound", f"{kind} {name} not found")


def _status(code: int, reason: str, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response({**status, "message": message}, status=code)


@contextmanager
def serving(double: ApiDouble) -> Iterator[ApiDouble]:
    """Serve a double in a thread of its own, because calls of Helm block. `url` is its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", double.answer)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        double.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield double
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
