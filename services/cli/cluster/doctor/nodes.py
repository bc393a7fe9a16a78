"""Checks of the nodes: labels, taints and devices that the pods of a chart need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from motet.core.files.field_errors import nearest_name
from services.cli.cluster.doctor.chart import PodGroup
from services.cli.cluster.doctor.devices import UsedDevices, quantity
from services.cli.cluster.doctor.finding import Finding, failed, passed, warned

if TYPE_CHECKING:
    from services.cli.cluster.api import Json

_HARD = ("NoSchedule", "NoExecute")
"""The effects of taints that keep pods away."""


@dataclass(frozen=True, slots=True)
class Supply:
    """The devices of a resource on some nodes. `free` has the number of each node, and `users` are names of pods."""

    device: str
    allocatable: int
    free: Sequence[int]
    users: str

    @classmethod
    def of(cls, device: str, nodes: Iterable[Json], used: UsedDevices) -> Self:
        """Return the devices of nodes."""
        numbers = {node["metadata"]["name"]: _allocatable(node, device) for node in nodes}
        free = [max(0, number - used.number(name, device)) for name, number in numbers.items()]
        return cls(device, sum(numbers.values()), free, used.users(numbers, device))

    @property
    def remedy(self) -> str:
        """The beginning of an advice to end the pods that use the devices, or ""."""
        return f"end pods that use them ({self.users}), " if self.users else ""

    def pods_with(self, number: int) -> int:
        """Return the number of pods that fit if each needs `number` devices of its node."""
        return sum(free // number for free in self.free)

    def __str__(self) -> str:
        return f"{sum(self.free)} of {self.allocatable} {self.device} are free"


def check_nodes(nodes: Sequence[Json], groups: Sequence[PodGroup], used: UsedDevices) -> Iterator[Finding]:
    """Yield the findings of each group of pods, and of the sum of their devices.

    Only ready nodes count that are not cordoned, and only devices that no pod of `used` has.
    """
    usable = [node for node in nodes if _is_usable(node)]
    if not usable:
        yield failed("nodes", f"none of {len(nodes)} nodes is ready", "add nodes, or uncordon and repair these")
        return
    yield passed("nodes", f"{len(usable)} of {len(nodes)} nodes are ready and not cordoned")
    wanted: dict[str, int] = {}
    places: dict[str, dict[str, Json]] = {}
    for group in groups:
        fitting, finding = _fitting(usable, group, used)
        yield finding
        if (group.spec.get("affinity") or {}).get("nodeAffinity"):
            yield warned(
                group.name, "its node affinity is not checked", "compare affinity with the labels of the nodes"
            )
        for device, number in group.devices().items():
            wanted[device] = wanted.get(device, 0) + number * group.pods
            places.setdefault(device, {}).update({node["metadata"]["name"]: node for node in fitting})
    for device, number in sorted(wanted.items()):
        yield _capacity(number, Supply.of(device, places[device].values(), used))


def _is_usable(node: Json) -> bool:
    conditions = {each["type"]: each["status"] for each in node["status"].get("conditions") or ()}
    return conditions.get("Ready") == "True" and not node["spec"].get("unschedulable")


def _fitting(nodes: Sequence[Json], group: PodGroup, used: UsedDevices) -> tuple[Sequence[Json], Finding]:
    """Return the nodes on which the pods of a group may run, and the finding about them."""
    selector: Mapping[str, str] = group.spec.get("nodeSelector") or {}
    labelled = [node for node in nodes if selector.items() <= (node["metadata"].get("labels") or {}).items()]
    if not labelled:
        return (), failed(
            group.name,
            f"no node has the labels {_pairs(selector)}{_other_values(nodes, selector)}",
            f"label nodes by `kubectl label node NODE {_pairs(selector).replace(', ', ' ')}`, or change nodeSelector",
        )
    tolerations = group.spec.get("tolerations") or ()
    tolerated = [node for node in labelled if not _untolerated(node, tolerations)]
    if not tolerated:
        taints = sorted({taint for node in labelled for taint in _untolerated(node, tolerations)})
        return (), failed(
            group.name,
            f"all {len(labelled)} nodes with its labels have taints that it does not tolerate: {', '.join(taints)}",
            "add these taints to tolerations, or remove them from the nodes",
        )
    for device, number in group.devices().items():
        equipped = [node for node in tolerated if _allocatable(node, device) >= number]
        if not equipped:
            return (), failed(
                group.name,
                f"none of the {len(tolerated)} nodes for it has {number} {device}{_other_devices(nodes, device)}",
                "install the device plugin of the GPUs on these nodes, or correct gpu.resource, gpu.migProfile or "
                "nodeSelector",
            )
        tolerated = equipped
    supplies = [Supply.of(device, tolerated, used) for device in group.devices()]
    state = "; ".join(map(str, supplies))
    short = [each for each in supplies if each.pods_with(group.devices()[each.device]) < group.pods]
    if short:
        room = min(each.pods_with(group.devices()[each.device]) for each in short)
        return tolerated, failed(
            group.name,
            f"its {len(tolerated)} nodes have devices for {room} of {group.pods} pods: {state}",
            f"add nodes, {short[0].remedy}or lower replicas",
        )
    return tolerated, passed(group.name, f"{len(tolerated)} nodes fit its {group.pods} pods{state and f': {state}'}")


def _capacity(wanted: int, supply: Supply) -> Finding:
    message = f"{wanted} are wanted in all; on the nodes that fit, {supply}"
    if wanted > sum(supply.free):
        remedy = f"add nodes, {supply.remedy}lower replicas, or share GPUs by MIG or time-slicing"
        return failed(supply.device, message, remedy)
    return passed(supply.device, message)


def _untolerated(node: Json, tolerations: Sequence[Json]) -> list[str]:
    return [
        "=".join(filter(None, (taint["key"], taint.get("value")))) + f":{taint['effect']}"
        for taint in node["spec"].get("taints") or ()
        if taint["effect"] in _HARD and not any(_tolerates(each, taint) for each in tolerations)
    ]


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint.get("value", ""))


def _allocatable(node: Json, device: str) -> int:
    return quantity((node["status"].get("allocatable") or {}).get(device, 0))


def _other_values(nodes: Sequence[Json], selector: Mapping[str, str]) -> str:
    """Return the values that nodes have for the labels of a selector, as the end of a sentence."""
    found = sorted(
        {
            f"{key}={value}"
            for node in nodes
            for key, value in (node["metadata"].get("labels") or {}).items()
            if key in selector
        }
    )
    return f"; nodes have {', '.join(found[:10])}" if found else ""


def _other_devices(nodes: Sequence[Json], device: str) -> str:
    """Return the device of any node whose name is the nearest, as the end of a sentence."""
    known = {name for node in nodes for name in node["status"].get("allocatable") or () if "/" in name}
    nearest = nearest_name(device, sorted(known))
    return f"; the nearest resource of other nodes is {nearest}" if nearest and nearest != device else ""


def _pairs(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
