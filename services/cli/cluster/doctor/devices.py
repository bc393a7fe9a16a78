"""Devices, such as GPUs, that pods need and that running pods use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from services.cli.cluster.release import RELEASE_LABEL

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi, Json

_RUNNING = "status.phase!=Succeeded,status.phase!=Failed"
"""The field selector of pods that use their devices, once they have a node."""

_SHOWN = 3
"""Maximum number of pods in a message."""


def quantity(text: str | int) -> int:
    """Return a number of devices, which the API server may have written with a suffix, such as 1k."""
    from kubernetes.utils.quantity import parse_quantity

    return int(parse_quantity(text))


def devices_of(spec: Mapping[str, Any]) -> Counter[str]:
    """Return the number of devices that a pod needs, by the name of the resource, such as nvidia.com/gpu.

    Containers run at the same time, and so do init containers that always restart. The other init containers run one
    after another before the containers.
    """
    running: Counter[str] = Counter()
    highest: Counter[str] = Counter()
    for container in spec.get("initContainers") or ():
        needed = running + _limits(container)
        highest |= needed
        if container.get("restartPolicy") == "Always":
            running = needed
    for container in spec["containers"]:
        running += _limits(container)
    return highest | running


class UsedDevices:
    """The devices that pods use on each node."""

    def __init__(self, pods: Iterable[Json]) -> None:
        self._users: dict[str, list[tuple[str, Counter[str]]]] = {}
        for pod in pods:
            devices = devices_of(pod["spec"])
            if devices and (node := pod["spec"].get("nodeName")):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                self._users.setdefault(node, []).append((name, devices))

    def number(self, node: str, device: str) -> int:
        """Return the number of devices of a resource that pods use on a node."""
        return sum(devices[device] for _, devices in self._users.get(node, ()))

    def users(self, nodes: Iterable[str], device: str) -> str:
        """Return the names of pods that use a resource on these nodes, at most three, or "" if none does."""
        found = sorted(name for node in nodes for name, devices in self._users.get(node, ()) if devices[device])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return ", ".join(found[:_SHOWN]) + more


async def devices_used_by_others(api: ClusterApi, release: str) -> UsedDevices:
    """Return the devices that pods of all namespaces use, without those of a release, which an upgrade replaces."""
    pods = await api.list("/api/v1/pods", fieldSelector=_RUNNING)
    own = (api.namespace, release)
    return UsedDevices(
        pod
        for pod in pods
        if (pod["metadata"]["namespace"], (pod["metadata"].get("labels") or {}).get(RELEASE_LABEL)) != own
    )


def _limits(container: Mapping[str, Any]) -> Counter[str]:
    limits = (container.get("resources") or {}).get("limits") or {}
    # The resources of device plugins have a domain.
    return Counter({name: quantity(number) for name, number in limits.items() if "/" in name})
