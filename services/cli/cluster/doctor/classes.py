"""Checks of the objects that the chart names and does not make: classes, claims and issuers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from services.cli.cluster.doctor.chart import PodGroup
from services.cli.cluster.doctor.finding import Finding, failed, passed

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"

_BLOCK = frozenset(
    [
        "cinder.csi.openstack.org",
        "csi.hetzner.cloud",
        "disk.csi.azure.com",
        "dobs.csi.digitalocean.com",
        "ebs.csi.aws.com",
        "ebs.csi.eks.amazonaws.com",
        "kubernetes.io/aws-ebs",
        "kubernetes.io/azure-disk",
        "kubernetes.io/gce-pd",
        "kubernetes.io/no-provisioner",
        "linodebs.csi.linode.com",
        "pd.csi.storage.gke.io",
        "rancher.io/local-path",
        "topolvm.io",
    ]
)
"""Provisioners of volumes that one node at a time can mount as a file system."""


async def check_named_objects(
    api: ClusterApi, objects: Sequence[Json], groups: Sequence[PodGroup]
) -> AsyncIterator[Finding]:
    """Yield a finding for each class and each claim that the objects of the chart name."""
    for path, kind, name, remedy in sorted({*_named(api.namespace, objects, groups)}):
        if await api.find(f"{path}/{name}") is None:
            yield failed(kind, f"{name} does not exist", remedy)
        else:
            yield passed(kind, f"{name} exists")


def _named(namespace: str, objects: Sequence[Json], groups: Sequence[PodGroup]) -> Iterator[tuple[str, str, str, str]]:
    """Yield the collection, the kind, the name and the remedy of each object that has to exist."""
    made = {(each["kind"], each["metadata"]["name"]) for each in objects}
    local = f"namespaces/{namespace}"
    for group in groups:
        spec = group.spec
        if name := spec.get("runtimeClassName"):
            remedy = "create it, as the GPU operator does, or set runtimeClassName to another one or to nothing"
            yield "/apis/node.k8s.io/v1/runtimeclasses", "RuntimeClass", name, remedy
        if name := spec.get("priorityClassName"):
            remedy = "create it, or correct priorityClassName"
            yield "/apis/scheduling.k8s.io/v1/priorityclasses", "PriorityClass", name, remedy
        for volume in spec.get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name and ("PersistentVolumeClaim", name) not in made:
                remedy = "create the claim with the weights, or correct weights.persistentVolumeClaim.claimName"
                yield f"/api/v1/{local}/persistentvolumeclaims", "PersistentVolumeClaim", name, remedy
        for claim in spec.get("resourceClaims") or ():
            if name := claim.get("resourceClaimName"):
                remedy = "create the claim, or correct gpu.dra.claimName"
                yield f"/apis/resource.k8s.io/v1/{local}/resourceclaims", "ResourceClaim", name, remedy
    for each in objects:
        if each["kind"] == "ResourceClaimTemplate":
            for request in each["spec"]["spec"]["devices"]["requests"]:
                name = request["exactly"]["deviceClassName"]
                remedy = "install the DRA driver of the GPUs, or correct gpu.dra.deviceClassName"
                yield "/apis/resource.k8s.io/v1/deviceclasses", "DeviceClass", name, remedy
        issuer = each["spec"]["issuerRef"] if each["kind"] == "Certificate" else {}
        if issuer and (issuer.get("kind", "Issuer"), issuer["name"]) not in made:
            kind = issuer.get("kind", "Issuer")
            scope = "" if kind == "ClusterIssuer" else f"{local}/"
            remedy = "create it, or correct tls.certManager.issuer"
            yield f"/apis/cert-manager.io/v1/{scope}{kind.lower()}s", kind, issuer["name"], remedy


async def check_storage(api: ClusterApi, objects: Sequence[Json]) -> list[Finding]:
    """Return a finding for each claim of the chart: its storage class, and whether the class has its access mode."""
    claims = [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    if not claims:
        return []
    classes = {each["metadata"]["name"]: each for each in await api.list("/apis/storage.k8s.io/v1/storageclasses")}
    return [_finding_of_claim(claim, classes) for claim in claims]


def _finding_of_claim(claim: Json, classes: dict[str, Json]) -> Finding:
    name = claim["metadata"]["name"]
    wanted = claim["spec"].get("storageClassName")
    defaults = [
        each
        for each, found in classes.items()
        if (found["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    known = ", ".join(sorted(classes)) or "a class that you create"
    remedy = f"set weights.hydrated.storageClassName to one of these: {known}"
    if wanted is None and not defaults:
        return failed("storage", f"the claim {name} has no storage class, and the cluster has no default", remedy)
    chosen = wanted or defaults[0]
    if chosen not in classes:
        return failed("storage", f"the storage class {chosen} of the claim {name} does not exist", remedy)
    provisioner = classes[chosen]["provisioner"]
    if "ReadWriteMany" in claim["spec"]["accessModes"] and provisioner in _BLOCK:
        return failed(
            "storage",
            f"the claim {name} is for many nodes, but volumes of {chosen} ({provisioner}) are for one at a time",
            "set weights.hydrated.storageClassName to a class of a network file system, or, if all pods run on one "
            "node, accessModes to [ReadWriteOnce]",
        )
    return passed("storage", f"the claim {name} gets a volume of {chosen} ({provisioner})")
