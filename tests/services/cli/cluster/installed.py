"""A release of the chart on a double of an API server, and commands for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from typer.testing import CliRunner, Result

from services.cli.cluster.commands import app
from services.cli.top.command import app as top_app
from tests.services.cli.cluster.cluster_double import ClusterDouble, deployments_path, pod_of, pods_path, set_ready
from tests.services.orchestrator.discovery.kubernetes_double import Json, status_response


@dataclass
class Installed:
    """A double of an API server with a release of the chart's ci values multi-node, all of whose pods are ready."""

    double: ClusterDouble
    kubeconfig: Path
    evicted: list[str] = field(default_factory=list)
    """The names of the evicted pods, in order."""
    slow: set[str] = field(default_factory=set)
    """The components whose new pods are not ready at once."""

    async def run(self, *arguments: str) -> Result:
        """Run `motet cluster` with the double's kubeconfig."""
        command = [arguments[0], "--kubeconfig", str(self.kubeconfig), *arguments[1:]]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

    async def top(self, *arguments: str) -> Result:
        """Run `motet top` with the double's kubeconfig and a short interval."""
        command = ["--kubeconfig", str(self.kubeconfig), "--interval", "0.1", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, top_app, command)

    def deployment(self, component: str) -> Json:
        """Return the Deployment of a component."""
        return self.double.objects[f"{deployments_path()}/demo-{component}"]

    def add_pod(self, component: str, name: str, node: str = "node-a", **status: object) -> Json:
        """Add a pod of a component, or replace it."""
        pod = pod_of(self.deployment(component), name, node, **status)
        self.double.add(pods_path(), pod)
        return pod

    def start_pods_slowly(self, component: str) -> None:
        """After a patch, one pod of a component is ready, and all are after its pods were listed."""

        def become_ready(path: str) -> None:
            if path == pods_path():
                set_ready(self.deployment(component))

        self.double.after_patch = lambda path, patched: set_ready(patched, 1) if "deployments" in path else None
        self.double.before_list = become_ready

    def add_nodes(self) -> None:
        """Add the nodes of all pods, and a controller that replaces evicted pods on another node."""
        self.double.add("/api/v1/nodes", *({"metadata": {"name": f"node-{x}"}, "spec": {}} for x in "abc"))
        self.double.posts["pods/eviction"] = self.evict

    def evict(self, path: str, eviction: Json) -> Json | web.Response:
        """End a pod, and start another one."""
        pod = self.double.objects.pop(path.removesuffix("/eviction"), None)
        if pod is None:
            return status_response(404, "the pod is not found")
        assert eviction["deleteOptions"]["preconditions"]["uid"] == pod["metadata"]["uid"]
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        self.evicted.append(pod["metadata"]["name"])
        self.add_pod(component, f"{pod['metadata']['name']}-new", "node-z")
        if component in self.slow:
            # The replacement is ready after its component was looked at once.
            set_ready(self.deployment(component), 0)
            self.double.before_list = lambda path: set_ready(self.deployment(component))
        return {}

    def remove_pods(self, component: str) -> None:
        """Remove all pods of a component."""
        for path in [path for path in self.double.objects if path.startswith(f"{pods_path()}/demo-{component}-")]:
            del self.double.objects[path]
