"""`motet cluster scale`: the number of pods of a component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.core.errors import RequestError
from services.cli.cluster.autoscalers import autoscalers_of
from services.cli.cluster.component import ORCHESTRATOR, Component
from services.cli.cluster.pod import PodState
from services.cli.cluster.problems import problem_lines
from services.cli.cluster.release import find_release, pods_of
from services.cli.cluster.waiting import Look, Patience
from services.terminal import print_status

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi


@dataclass(frozen=True, slots=True)
class ScaleRequest:
    """The wanted number of pods of a component. `force` allows it for a component that an autoscaler owns."""

    component: str
    pods: int
    force: bool = False


async def scale(
    api: ClusterApi, release_name: str | None, request: ScaleRequest, wait: bool, timeout: float | None
) -> None:
    """Set the number of pods of a component. With `wait`, wait until exactly these pods are ready.

    `timeout` is in seconds. Raises `RequestError` for a component that has an autoscaler, and for an orchestrator
    without pods, unless the request has `force`. Raises `DeadlineError` if the pods are not ready in time.
    """
    release = await find_release(api, release_name)
    component = release.component(request.component)
    if not request.force:
        await _check(api, component, request.pods)
    path = f"/apis/apps/v1/namespaces/{api.namespace}/deployments/{component.deployment}"
    await api.patch(f"{path}/scale", {"spec": {"replicas": request.pods}})
    key = ORCHESTRATOR if component.kind == ORCHESTRATOR else f"workers.{component.name}"
    print_status(
        f"{component.name}: {component.desired} -> {request.pods} pods; the next `helm upgrade` sets the number of "
        f"{key}.replicas, so change it there, too"
    )
    if wait:
        await _wait(api, release.name, component.name, path, timeout)


async def _check(api: ClusterApi, component: Component, pods: int) -> None:
    if pods == 0 and component.kind == ORCHESTRATOR:
        raise RequestError("no request is served without an orchestrator: keep at least 1 pod, or add --force")
    if owners := await autoscalers_of(api, component.deployment):
        raise RequestError(
            f"{component.name} is scaled by {', '.join(owners)}, which would change the number back: change its "
            "minimum and maximum, or add --force"
        )


async def _wait(api: ClusterApi, release: str, name: str, path: str, timeout: float | None) -> None:
    """Wait until a component is complete."""

    async def look() -> Look:
        component = Component.of(await api.get(path), name)
        progress = f"{name}: {component.ready} of {component.desired} pods are ready"
        if component.existing > component.desired:
            progress += f", {component.existing - component.desired} are ending"
        if component.is_complete:
            return Look(True, (progress,))
        pods = (await pods_of(api, release)).get(name, ())
        return Look(False, (progress, *problem_lines(component, [PodState.of(pod, component.kind) for pod in pods])))

    await Patience(timeout, "the number of pods stays as it was set; correct what the lines above name").until(look)
