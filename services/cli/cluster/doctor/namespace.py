"""The check of the namespace and of its Pod Security level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.cli.cluster.doctor.chart import PodGroup
from services.cli.cluster.doctor.finding import Finding, failed, passed, warned

if TYPE_CHECKING:
    from services.cli.cluster.api import Json

_LEVEL = "pod-security.kubernetes.io/enforce"
_RESTRICTED = "restricted"


def check_namespace(name: str, namespace: Json | None, groups: Sequence[PodGroup]) -> Finding:
    """Return the finding about a namespace, which is None if it does not exist."""
    if namespace is None:
        return warned(
            "namespace", f"{name} does not exist yet", "run `helm install` with --create-namespace, or create it"
        )
    level = (namespace["metadata"].get("labels") or {}).get(_LEVEL, "privileged")
    offences = sorted({offence for group in groups for offence in _offences(group)})
    if level == _RESTRICTED and offences:
        return failed(
            "namespace",
            f"{name} enforces the Pod Security level {level}, which refuses {', '.join(offences[:5])}",
            "keep the chart's podSecurityContext and securityContext, or choose another namespace",
        )
    return passed("namespace", f"{name} exists, with the Pod Security level {level}")


def _offences(group: PodGroup) -> Iterator[str]:
    """Yield the settings of a group of pods that the level restricted refuses."""
    pod = group.spec.get("securityContext") or {}
    for container in (*group.spec["containers"], *(group.spec.get("initContainers") or ())):
        own = container.get("securityContext") or {}
        merged = pod | own
        profile = (merged.get("seccompProfile") or {}).get("type")
        wrong = [
            *([] if merged.get("runAsNonRoot") is True else ["runAsNonRoot"]),
            *([] if profile in ("RuntimeDefault", "Localhost") else ["seccompProfile"]),
            *([] if own.get("allowPrivilegeEscalation") is False else ["allowPrivilegeEscalation"]),
            *([] if "ALL" in ((own.get("capabilities") or {}).get("drop") or ()) else ["capabilities.drop"]),
        ]
        yield from (f"{name} of {group.name}" for name in wrong)
    for volume in group.spec.get("volumes") or ():
        if "hostPath" in volume:
            yield f"hostPath of {group.name}"
