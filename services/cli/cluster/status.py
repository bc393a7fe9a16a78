"""`motet cluster status`: the components of a release, their pods and their load."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from motet.answers.printable import printable_line
from services.cli.cluster.component import ORCHESTRATOR, Component
from services.cli.cluster.load import Loads, PoolLoad, read_loads
from services.cli.cluster.pod import PodState
from services.cli.cluster.problems import problem_lines
from services.cli.cluster.release import find_release, pods_of
from services.cli.cluster.table import age_of, table
from services.exit_codes import Exit
from services.terminal import print_status

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi

_MAX_PROBLEMS = 20
"""Maximum number of problems in the text."""


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """A component, its pods, and its load if it is known."""

    component: Component
    pods: Sequence[PodState]
    load: PoolLoad | None

    @property
    def ready(self) -> bool:
        """True if as many pods are ready as desired."""
        return self.component.ready >= self.component.desired

    def as_json(self) -> dict[str, Any]:
        """Return all values for programs."""
        component = self.component
        return {
            "component": component.name,
            "kind": component.kind,
            "modality": component.modality,
            "ready": component.ready,
            "desired": component.desired,
            "failure": component.failure,
            "image": component.image,
            "gpu": component.gpu,
            "load": None if self.load is None else {f"{name}_seconds": s for name, s in asdict(self.load).items()},
            "pods": [_json_of_pod(pod) for pod in self.pods],
        }


async def print_release_status(api: ClusterApi, release_name: str | None, as_json: bool) -> Exit:
    """Print the status of a release. Return `Exit.PARTIAL` if a component has fewer ready pods than desired."""
    release = await find_release(api, release_name)
    pods = await pods_of(api, release.name)
    loads = Loads({})
    for component in release.components:
        if component.kind == ORCHESTRATOR:
            running = [each["metadata"]["name"] for each in pods.get(component.name, ()) if _runs(each)]
            loads = await read_loads(api, component, running)
    statuses = [
        ComponentStatus(
            component,
            [PodState.of(pod, component.kind) for pod in pods.get(component.name, ())],
            loads.pools.get(component.pool),
        )
        for component in release.components
    ]
    for line in map(json.dumps, (each.as_json() for each in statuses)) if as_json else _lines(statuses):
        print(line)
    for note in loads.notes:
        print_status(note)
    return Exit.OK if all(each.ready for each in statuses) else Exit.PARTIAL


def _runs(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _lines(statuses: Sequence[ComponentStatus]) -> Iterator[str]:
    yield from table(
        ("component", "ready", "gpu", "queued s", "running s", "waits s", "image"),
        [
            (
                each.component.name,
                f"{each.component.ready}/{each.component.desired}",
                each.component.gpu,
                "" if each.load is None else f"{each.load.queued:.1f}",
                "" if each.load is None else f"{each.load.running:.1f}",
                "" if each.load is None else f"{each.load.oldest_wait:.1f}",
                each.component.image,
            )
            for each in statuses
        ],
    )
    pods = [(each.component, pod) for each in statuses for pod in each.pods]
    if pods:
        yield ""
        yield from table(
            ("pod", "node", "phase", "ready", "restarts", "age", "gpu"),
            [
                (pod.name, pod.node, pod.phase, "yes" if pod.ready else "no", pod.restarts, age_of(pod.age), pod.gpu)
                for _, pod in pods
            ],
        )
    yield from _problem_lines(statuses)


def _problem_lines(statuses: Sequence[ComponentStatus]) -> Iterator[str]:
    lines = [line for each in statuses for line in problem_lines(each.component, each.pods)]
    if lines:
        yield ""
    yield from map(printable_line, lines[:_MAX_PROBLEMS])
    if len(lines) > _MAX_PROBLEMS:
        yield f"{len(lines) - _MAX_PROBLEMS} more problems: --json has all"


def _json_of_pod(pod: PodState) -> dict[str, Any]:
    values = asdict(pod)
    if pod.problem is not None:
        values["problem"]["remedy"] = pod.problem.remedy
    return values
