"""Checks of the APIs that a cluster serves, and of the rights to create the objects of the chart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.cli.cluster.doctor.finding import Finding, failed, passed

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json

_SOURCES: Mapping[str, str] = {
    "cert-manager.io": "install cert-manager, or set tls.source to existingSecret",
    "monitoring.coreos.com": "install the Prometheus operator, or set podMonitor.enabled to false",
    "gateway.networking.k8s.io": "install the Gateway API, or set grpcRoute.enabled to false",
    "keda.sh": "install KEDA, or turn its objects off in the values",
    "resource.k8s.io": "use Kubernetes 1.34 or newer, or set gpu.dra.enabled to false and gpu.count to 1",
}
"""The remedy if a cluster does not serve a group of APIs."""

_VERBS = ("create", "get", "patch", "delete")
"""The verbs that Helm needs for each kind of object, to install, upgrade and uninstall."""


@dataclass(frozen=True, slots=True, order=True)
class AccessRequest:
    """A verb for a kind of object, in the words of RBAC."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


async def check_apis(api: ClusterApi, objects: Sequence[Json]) -> tuple[list[Finding], dict[tuple[str, str], str]]:
    """Return the findings, and the resource, such as deployments, by the API version and the kind of each object."""
    kinds = sorted({(each["apiVersion"], each["kind"]) for each in objects})
    findings: list[Finding] = []
    resources: dict[tuple[str, str], str] = {}
    for version in sorted({version for version, _ in kinds}):
        wanted = [kind for own, kind in kinds if own == version]
        served = await api.find(f"/apis/{version}" if "/" in version else f"/api/{version}")
        names = {each["kind"]: each["name"] for each in (served or {}).get("resources", ()) if "/" not in each["name"]}
        resources |= {(version, kind): names[kind] for kind in wanted if kind in names}
        if missing := [kind for kind in wanted if kind not in names]:
            remedy = _SOURCES.get(version.partition("/")[0], "upgrade the cluster, or install what serves this API")
            findings.append(failed("api", f"the cluster does not serve {', '.join(missing)} of {version}", remedy))
        else:
            findings.append(passed("api", f"{version} has {', '.join(wanted)}"))
    return findings, resources


async def check_rights(
    api: ClusterApi, objects: Sequence[Json], resources: Mapping[tuple[str, str], str]
) -> list[Finding]:
    """Return the findings about the caller's rights to install, upgrade and uninstall the objects."""
    wanted = sorted({*_for_objects(resources), *_for_helm(), *_for_roles(objects)})
    answers = await asyncio.gather(*(_is_allowed(api, each) for each in wanted))
    denied = [str(each) for each, allowed in zip(wanted, answers, strict=True) if not allowed]
    if denied:
        return [
            failed(
                "rights",
                f"you may not {', '.join(denied)} in {api.namespace}",
                "ask for a role with these rights, such as the ClusterRole admin bound in the namespace",
            )
        ]
    return [passed("rights", f"you may create, change and delete {len(resources)} kinds of objects in {api.namespace}")]


def _for_objects(resources: Mapping[tuple[str, str], str]) -> Iterator[AccessRequest]:
    for (version, _), resource in resources.items():
        for verb in _VERBS:
            yield AccessRequest(_group_of(version), resource, verb)


def _for_helm() -> Iterator[AccessRequest]:
    """Yield what Helm needs to store its releases."""
    for verb in ("create", "get", "list", "update", "delete"):
        yield AccessRequest("", "secrets", verb)


def _for_roles(objects: Sequence[Json]) -> Iterator[AccessRequest]:
    """Yield the rights in the roles of the chart: Kubernetes lets a caller grant only rights of its own."""
    for each in objects:
        for rule in each.get("rules", ()) if each["kind"] == "Role" else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from (AccessRequest(group, resource, verb) for verb in rule["verbs"])


async def _is_allowed(api: ClusterApi, wanted: AccessRequest) -> bool:
    attributes = {
        "namespace": api.namespace,
        "verb": wanted.verb,
        "group": wanted.group,
        "resource": wanted.resource,
    }
    review = await api.post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool(review["status"]["allowed"])


def _group_of(version: str) -> str:
    return version.partition("/")[0] if "/" in version else ""
