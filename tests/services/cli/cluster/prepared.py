"""A cluster without a release, as a double of an API server, on which the chart may be installed."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner, Result

from services.cli.cluster.commands import app
from tests.deploy.chart import ci_values, objects
from tests.services.cli.cluster.cluster_double import NAMESPACE, ClusterDouble
from tests.services.orchestrator.discovery.kubernetes_double import Json

VERSION = "v1.37.0"


@dataclass
class Prepared:
    """A double of a cluster that fits the chart's ci values multi-node, and a `helm` that prints rendered objects.

    The objects were rendered by the real engine of Helm. `denied` are the rights that the caller lacks.
    """

    double: ClusterDouble
    folder: Path
    denied: set[str]

    def prepare(self, name: str = "multi-node") -> None:
        """Make the cluster fit ci values, and let `helm template` print their objects."""
        rendered = objects(ci_values(name))
        self.render(rendered)
        self.double.objects["/version"] = {"gitVersion": VERSION}
        for version in {each["apiVersion"] for each in rendered}:
            kinds = {each["kind"] for each in rendered if each["apiVersion"] == version}
            self.serve(version, *kinds)
        self.double.add("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": {}}})
        add = self.double.add
        add("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "nvidia"}})
        add("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "serving"}})
        add("/apis/cert-manager.io/v1/clusterissuers", {"metadata": {"name": "company"}})
        add("/apis/resource.k8s.io/v1/deviceclasses", {"metadata": {"name": "gpu.nvidia.com"}})
        self.add_storage_class("shared", "nfs.csi.k8s.io")
        taint = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
        self.add_node("cpu")
        self.add_node("l4", gpus=4, taints=taint)
        self.add_node("h100", gpus=8, taints=taint)
        self.add_node("l40s", gpus=8, taints=taint)
        self.double.posts["selfsubjectaccessreviews"] = self.review

    def render(self, rendered: list[Json]) -> None:
        """Let `helm template` print these objects, and record its arguments."""
        (self.folder / "rendered.yaml").write_text(yaml.dump_all(rendered, Dumper=yaml.CSafeDumper))
        self.helm(f"cat {shlex.quote(str(self.folder / 'rendered.yaml'))}")

    def helm(self, script: str) -> None:
        """Replace `helm` by a script of the shell."""
        program = self.folder / "bin" / "helm"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$@" > {shlex.quote(str(self.folder / "arguments"))}\n{script}\n')
        program.chmod(0o755)

    def serve(self, version: str, *kinds: str) -> None:
        """Serve an API with these kinds."""
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        names = [{"name": _plural(kind), "kind": kind} for kind in kinds]
        self.double.objects[path] = {"resources": [*names, {"name": f"{names[0]['name']}/status", "kind": "Other"}]}

    def add_node(self, pool: str, gpus: int = 0, resource: str = "nvidia.com/gpu", **spec: Any) -> Json:
        """Add a ready node of a pool."""
        allocatable = {"cpu": "8", "memory": "64Gi"} | ({resource: str(gpus)} if gpus else {})
        node = {
            "metadata": {"name": f"node-{pool}", "labels": {"pool": pool}},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": allocatable},
        }
        self.double.add("/api/v1/nodes", node)
        return node

    def add_storage_class(self, name: str, provisioner: str, **annotations: str) -> None:
        """Add a storage class."""
        metadata = {"name": name, "annotations": annotations}
        self.double.add("/apis/storage.k8s.io/v1/storageclasses", {"metadata": metadata, "provisioner": provisioner})

    def review(self, path: str, review: Json) -> Json:
        """Answer a SelfSubjectAccessReview."""
        wanted = review["spec"]["resourceAttributes"]
        assert wanted["namespace"] == NAMESPACE
        return {"status": {"allowed": f"{wanted['verb']} {wanted['resource']}" not in self.denied}}

    async def doctor(self, *arguments: str) -> Result:
        """Run `motet cluster doctor` with the double's kubeconfig."""
        command = ["doctor", "--kubeconfig", str(self.folder / "kubeconfig"), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, command)


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"
