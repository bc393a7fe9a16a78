"""`motet cluster drain`: move the pods of a release away from a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.answers.printable import printable
from motet.core.errors import SettingsError
from services.cli.cluster.api import ApiStatusError
from services.cli.cluster.component import ORCHESTRATOR, Component
from services.cli.cluster.pod import PodState
from services.cli.cluster.release import Release, find_release, pods_of
from services.cli.cluster.waiting import Look, Patience
from services.terminal import print_status

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi

_BLOCKED = 429
"""The status of an eviction that a PodDisruptionBudget does not allow now."""

_GONE = (404, 409)
"""The statuses of an eviction of a pod that has ended, or that another pod of the same name replaced."""


@dataclass(frozen=True, slots=True)
class PodOnNode:
    """A pod to evict. `grace` is the maximum time for its running calls, in seconds."""

    component: str
    name: str
    uid: str
    grace: int


async def uncordon(api: ClusterApi, node: str) -> None:
    """Let new pods start on a node again."""
    await _node_is_cordoned(api, node)
    await api.patch(_node_path(node), {"spec": {"unschedulable": None}})
    print_status(f"{node}: new pods may start there again")


async def drain(
    api: ClusterApi, release_name: str | None, node: str, timeout: float | None, dry_run: bool = False
) -> None:
    """Cordon a node and evict the pods of a release from it, one after another. With `dry_run`, only print them.

    The pods of a component end, and their replacements are ready or find no node, before those of the next component
    are evicted. Orchestrators are last, because a generation needs its workers. Evictions respect
    PodDisruptionBudgets. `timeout` is in seconds. Raises `DeadlineError`. Then, and after Ctrl-C, the node stays
    cordoned.
    """
    release = await find_release(api, release_name)
    is_cordoned = await _node_is_cordoned(api, node)
    pods = await _pods_on(api, release, node)
    if dry_run:
        for pod in pods:
            print(printable(f"{pod.component}: {pod.name} would be evicted, with up to {pod.grace} seconds to end"))
        print_status(f"{node}: nothing was changed; {len(pods)} pods of {release.name} would be evicted")
        return
    if not is_cordoned:
        await api.patch(_node_path(node), {"spec": {"unschedulable": True}})
    print_status(f"{node} is cordoned: no new pod starts there")
    try:
        patience = Patience(timeout, "run the command again to continue")
        for name in dict.fromkeys(pod.component for pod in pods):
            own = [pod for pod in pods if pod.component == name]
            for number, pod in enumerate(own, 1):
                await _evict(api, pod, patience)
                print_status(f"{name}: {pod.name} has ended, {number} of {len(own)}")
            await _replace(api, release, name, patience)
    except BaseException:
        print_status(f"{node} stays cordoned: run the command again, or with --uncordon to let pods start there")
        raise
    print_status(
        f"{node} has no pods of {release.name} any more and stays cordoned; pods of others were not touched. "
        "--uncordon lets pods start there again"
    )


async def _node_is_cordoned(api: ClusterApi, node: str) -> bool:
    found = await api.find(_node_path(node))
    if found is None:
        raise SettingsError(f"the cluster has no node {node}: `kubectl get nodes` lists them")
    return bool(found["spec"].get("unschedulable", False))


def _node_path(node: str) -> str:
    return f"/api/v1/nodes/{node}"


async def _pods_on(api: ClusterApi, release: Release, node: str) -> Sequence[PodOnNode]:
    """Return the pods of a release that run on a node, in the order of their evictions."""
    found = [
        PodOnNode(
            component,
            pod["metadata"]["name"],
            pod["metadata"]["uid"],
            int(pod["spec"].get("terminationGracePeriodSeconds", 30)),
        )
        for component, pods in (await pods_of(api, release.name, node)).items()
        for pod in pods
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]
    orchestrators = {each.name for each in release.components if each.kind == ORCHESTRATOR}
    return sorted(found, key=lambda pod: (pod.component in orchestrators, pod.component, pod.name))


async def _evict(api: ClusterApi, pod: PodOnNode, patience: Patience) -> None:
    """Evict a pod as soon as its PodDisruptionBudget allows it, and wait until the pod has ended."""
    path = f"/api/v1/namespaces/{api.namespace}/pods/{pod.name}"
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": api.namespace},
        # Without it, a pod that has the name in the meantime could be evicted elsewhere.
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }

    async def evict() -> Look:
        try:
            await api.post(f"{path}/eviction", eviction)
        except ApiStatusError as error:
            if error.status == _BLOCKED:
                return Look(False, (f"{pod.component}: {pod.name} has to wait: {error.message}",))
            if error.status not in _GONE:
                raise
        return Look(True, (f"{pod.component}: {pod.name} is evicted, and has up to {pod.grace} seconds to end",))

    async def has_ended() -> Look:
        found = await api.find(path)
        if found is None or found["metadata"]["uid"] != pod.uid:
            return Look(True)
        return Look(False, (f"{pod.component}: {pod.name} is ending",))

    await patience.until(evict)
    await patience.until(has_ended)


async def _replace(api: ClusterApi, release: Release, name: str, patience: Patience) -> None:
    """Wait until the pods of a component are ready elsewhere, or no node has room for one of them."""
    components = {each.name: each for each in release.components}
    if name not in components:
        # The pods of a job end by themselves.
        return
    path = f"/apis/apps/v1/namespaces/{api.namespace}/deployments/{components[name].deployment}"

    async def look() -> Look:
        component = Component.of(await api.get(path), name)
        progress = f"{name}: {component.ready} of {component.desired} pods are ready"
        if component.ready >= component.desired:
            return Look(True, (progress,))
        pods = [PodState.of(pod, component.kind) for pod in (await pods_of(api, release.name)).get(name, ())]
        without_node = [pod for pod in pods if pod.problem is not None and pod.problem.reason == "Unschedulable"]
        if without_node:
            return Look(True, (f"{progress}, and no node has room: {without_node[0].problem}",))
        return Look(False, (progress,))

    await patience.until(look)
