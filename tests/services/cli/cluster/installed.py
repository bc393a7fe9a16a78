"""A release of the chart on a double of an API server, and commands for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from services.cli.cluster.commands import app
from tests.services.cli.cluster.cluster_double import (
    ClusterDouble,
    Json,
    deployments_path,
    pod_of,
    pods_path,
    set_ready,
)


@dataclass
class Installed:
    """A double of an API server with a release of the chart's ci values multi-node, all of whose pods are ready."""

    double: ClusterDouble
    kubeconfig: Path

    async def run(self, *arguments: str) -> Result:
        """Run `motet cluster` with the double's kubeconfig."""
        command = [arguments[0], "--kubeconfig", str(self.kubeconfig), *arguments[1:]]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

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

        self.double.after_patch = lambda path, patched: set_ready(patched, 1)
        self.double.before_list = become_ready

    def remove_pods(self, component: str) -> None:
        """Remove all pods of a component."""
        for path in [path for path in self.double.objects if path.startswith(f"{pods_path()}/demo-{component}-")]:
            del self.double.objects[path]
