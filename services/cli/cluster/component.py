"""A component of a release: an orchestrator, or workers of one kind, as one Deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.cli.cluster.api import Json

ORCHESTRATOR = "orchestrator"

KIND_ANNOTATION = "kubectl.kubernetes.io/default-container"
"""The annotation of a pod with the name of its service's container, which is the kind of the component."""

_ORDINARY = ("cpu", "memory", "ephemeral-storage", "hugepages-")
"""Beginnings of the names of resources that every node has."""


@dataclass(frozen=True, slots=True)
class Component:
    """The state of a component's Deployment.

    `desired`, `ready`, `updated` and `existing` are numbers of pods. `settled` means that the controller has seen the
    latest specification. `failure` is the reason for which no pod can be created, or "".
    """

    name: str
    deployment: str
    kind: str
    modality: str
    desired: int
    ready: int
    updated: int
    existing: int
    settled: bool
    image: str
    gpu: str
    metrics_scheme: str
    metrics_port: int
    failure: str

    @property
    def pool(self) -> str:
        """The name of the component's pool in the metrics of an orchestrator, or "" for the orchestrator itself."""
        return "" if self.kind == ORCHESTRATOR else self.modality or self.kind

    def metrics_path(self, namespace: str, pod: str) -> str:
        """Return the path at which the API server forwards a request to the metrics of a pod."""
        target = f"{self.metrics_scheme}:{pod}:{self.metrics_port}"
        return f"/api/v1/namespaces/{namespace}/pods/{target}/proxy/metrics"

    @property
    def is_complete(self) -> bool:
        """True if exactly the desired pods exist, all with the latest specification and ready."""
        return self.settled and self.desired == self.ready == self.updated == self.existing

    @classmethod
    def of(cls, deployment: Json, name: str) -> Component:
        """Return the component of a Deployment."""
        metadata, spec, status = deployment["metadata"], deployment["spec"], deployment.get("status") or {}
        template = spec["template"]
        kind = (template["metadata"].get("annotations") or {}).get(KIND_ANNOTATION, "")
        container = service_container(template["spec"], kind)
        environment = {each["name"]: each.get("value", "") for each in container.get("env") or ()}
        ports = {each.get("name"): each["containerPort"] for each in container.get("ports") or ()}
        failures = [
            str(each.get("message", ""))
            for each in status.get("conditions") or ()
            if each["type"] == "ReplicaFailure" and each["status"] == "True"
        ]
        return cls(
            name=name,
            deployment=metadata["name"],
            kind=kind,
            modality=environment.get("MOTET_MODALITY", ""),
            desired=int(spec.get("replicas", 1)),
            ready=int(status.get("readyReplicas", 0)),
            updated=int(status.get("updatedReplicas", 0)),
            existing=int(status.get("replicas", 0)),
            settled=int(status.get("observedGeneration", 0)) >= int(metadata.get("generation", 0)),
            image=container.get("image", ""),
            gpu=gpu_of(container),
            metrics_scheme="http" if environment.get("MOTET_METRICS_TLS", "off") == "off" else "https",
            metrics_port=int(ports.get("metrics", 0)),
            failure=next(iter(failures), ""),
        )


def service_container(spec: Json, kind: str) -> Mapping[str, Any]:
    """Return the container of a pod's specification that runs the service, by default the first one."""
    containers: list[Mapping[str, Any]] = spec["containers"]
    return next((each for each in containers if each["name"] == kind), containers[0])


def gpu_of(container: Mapping[str, Any]) -> str:
    """Return the devices of a container, such as "1 nvidia.com/gpu", or "" if it has none."""
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    devices = [f"{number} {name}" for name, number in sorted(limits.items()) if not name.startswith(_ORDINARY)]
    claims = [f"claim {each['name']}" for each in resources.get("claims") or ()]
    return ", ".join(devices + claims)
