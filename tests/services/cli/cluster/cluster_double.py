"""A double of an API server with a release of the chart. No Kubernetes is involved: it only answers as one does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from tests.services.orchestrator.discovery.kubernetes_double import Json, KubernetesDouble, status_response

NAMESPACE = "motet"
VERBS = {"GET": "get", "PATCH": "patch", "POST": "create", "DELETE": "delete"}


class ClusterDouble(KubernetesDouble):
    """A double that serves any objects by their paths: get, lists in pages with selectors, and merge patches.

    `calls` are the requests in the words of RBAC: verb, group and resource. `denied` are calls without permission.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.objects: dict[str, Json] = {}
        """The objects by their paths, such as /api/v1/nodes/a."""
        self.texts: dict[str, str] = {}
        """The responses that are no objects, by their paths."""
        self.calls: list[tuple[str, str, str]] = []
        self.bodies: list[Json] = []
        """The bodies of all requests that have one, in order."""
        self.denied: set[tuple[str, str, str]] = set()
        self.lists: list[Mapping[str, str]] = []
        """The parameters of all list requests, in order."""
        self.posts: dict[str, Callable[[str, Json], Json | web.Response]] = {}
        """Functions that answer the creation of a resource, from the path and the body, by the resource's name."""
        self.after_patch: Callable[[str, Json], None] = lambda path, patched: None
        """A function that runs after each patch, as a controller does."""
        self.before_list: Callable[[str], None] = lambda path: None
        """A function that runs before each list."""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of all objects."""
        router.add_route("*", "/{path:.*}", self._serve)

    def add(self, path: str, *objects: Json) -> None:
        """Add objects to a collection, or replace those of the same names."""
        for each in objects:
            self.objects[f"{path}/{each['metadata']['name']}"] = each

    def kubeconfig(self, folder: Path, **changes: Any) -> Path:
        """Write a kubeconfig for this double, with changes of its user, and return its path."""
        server = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(self.account.folder / "ca.crt"),
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "clusters": [{"name": "double", "cluster": server}],
            "users": [{"name": "tester", "user": {"token": self.token} | changes}],
            "contexts": [
                {"name": "double", "context": {"cluster": "double", "user": "tester", "namespace": NAMESPACE}},
                {"name": "other", "context": {"cluster": "double", "user": "tester"}},
            ],
        }
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(content))
        return file

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        call = self._call_of(request.method, path)
        if call[2]:
            self.calls.append(call)
        if not self.is_authenticated(request):
            return status_response(401, "Unauthorized")
        if call in self.denied:
            return status_response(403, f'{call[2]}.{call[1]} is forbidden: User "tester" cannot {call[0]} it')
        body = await request.json() if request.can_read_body else {}
        if body:
            self.bodies.append(body)
        if path in self.texts:
            return web.Response(text=self.texts[path])
        match request.method:
            case "POST" if call[2] in self.posts:
                answer = self.posts[call[2]](path, body)
                return answer if isinstance(answer, web.Response) else web.json_response(answer, status=201)
            case "PATCH":
                return self._patch(path, body)
            case "GET" if path in self.objects:
                return web.json_response(self.objects[path])
            case "GET" if self._is_collection(path):
                return self._list_objects(path, request.query)
        return status_response(404, "the server could not find the requested resource")

    def _is_collection(self, path: str) -> bool:
        # A kind that the API server itself serves has a collection, which may be empty.
        served = ("/api/v1/", "/apis/apps/", "/apis/autoscaling/", "/apis/policy/", "/apis/storage.k8s.io/")
        known = any(each.rpartition("/")[0] == path for each in self.objects)
        return known or (path.startswith(served) and self._call_of("GET", path)[0] != "get")

    def _call_of(self, method: str, path: str) -> tuple[str, str, str]:
        """Return the verb, the group and the resource of a request. Paths that name none have an empty resource."""
        parts = path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
            return "get", "", ""
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        if rest[0] == "namespaces" and len(rest) > 2:
            rest = rest[2:]
        resource = "/".join([rest[0], *rest[2:3]])
        verb = "list" if method == "GET" and len(rest) == 1 else VERBS[method]
        return verb, group, resource

    def _list_objects(self, path: str, query: Mapping[str, str]) -> web.Response:
        self.lists.append(dict(query))
        self.before_list(path)
        found = [each for key, each in sorted(self.objects.items()) if key.rpartition("/")[0] == path]
        found += [each for key, each in sorted(self.objects.items()) if self._in_all_namespaces(path, key)]
        wanted = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
        found = [each for each in found if wanted.items() <= (each["metadata"].get("labels") or {}).items()]
        found = [each for each in found if _is_selected(each, query.get("fieldSelector", ""))]
        begin, limit = int(query.get("continue", 0)), int(query["limit"])
        metadata = {"continue": str(begin + limit)} if begin + limit < len(found) else {}
        return web.json_response({"metadata": metadata, "items": found[begin : begin + limit]})

    def _in_all_namespaces(self, path: str, key: str) -> bool:
        head, _, resource = path.rpartition("/")
        return key.startswith(f"{head}/namespaces/") and key.split("/")[-2] == resource

    def _patch(self, path: str, patch: Json) -> web.Response:
        target = path.removesuffix("/scale")
        if target not in self.objects:
            return status_response(404, f"{path} is not found")
        _merge(self.objects[target], patch)
        metadata = self.objects[target]["metadata"]
        metadata["generation"] = metadata.get("generation", 0) + 1
        self.after_patch(target, self.objects[target])
        return web.json_response(self.objects[target])


def _is_selected(found: Json, selector: str) -> bool:
    """Return whether an object has the fields of a selector, such as spec.nodeName=a,status.phase!=Failed."""
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        first, _, second = path.rstrip("!").partition(".")
        if (found.get(first, {}).get(second, "") == value) is path.endswith("!"):
            return False
    return True


def _merge(target: Json, patch: Json) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif value is None:
            target.pop(key, None)
        else:
            target[key] = json.loads(json.dumps(value))


def deployments_path(namespace: str = NAMESPACE) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def pods_path(namespace: str = NAMESPACE) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def set_ready(deployment: Json, ready: int | None = None) -> None:
    """Set the status of a Deployment to that of its controller, with all pods ready by default."""
    desired = deployment["spec"]["replicas"]
    deployment["status"] = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": desired,
        "readyReplicas": desired if ready is None else ready,
        "updatedReplicas": desired,
    }


def pod_of(deployment: Json, name: str, node: str = "node-a", **status: Any) -> Json:
    """Return a pod of a Deployment, which is ready unless `status` has other values."""
    template = json.loads(json.dumps(deployment["spec"]["template"]))
    return {
        "metadata": template["metadata"]
        | {
            "name": name,
            "namespace": NAMESPACE,
            "uid": name,
            "creationTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "ownerReferences": [{"kind": "ReplicaSet", "name": name}],
        },
        "spec": template["spec"] | ({"nodeName": node} if node else {}),
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "restartCount": 0, "started": True, "state": {"running": {}}}],
        }
        | status,
    }
