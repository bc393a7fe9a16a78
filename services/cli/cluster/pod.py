"""The state of a pod, and what to change if it is not ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.cli.cluster.component import gpu_of, service_container

if TYPE_CHECKING:
    from services.cli.cluster.api import Json

_IMAGE = "correct images.registry, images.tag or image.digest, or name the registry's secret in images.pullSecrets"
_CONFIG = "create the Secret or ConfigMap that the message names, or correct its name in the values"

_REMEDIES: Mapping[str, str] = {
    "ImagePullBackOff": _IMAGE,
    "ErrImagePull": _IMAGE,
    "InvalidImageName": _IMAGE,
    "ErrImageNeverPull": "load the image onto the node, or set images.pullPolicy to IfNotPresent",
    "CreateContainerConfigError": _CONFIG,
    "CreateContainerError": "read the events by `kubectl describe pod`",
    "RunContainerError": "read the events by `kubectl describe pod`; a runtime class or a device driver may be missing",
    "Unschedulable": "add or free a node that fits, or change gpu, resources, nodeSelector or tolerations of the "
    "component; `motet cluster doctor` compares them with the nodes",
    "SchedulingGated": "remove the gate, or wait for its controller",
    "OOMKilled": "raise resources.limits.memory of the component",
    "CrashLoopBackOff": "read `kubectl logs --previous` of the pod: its last line names the setting or file to change",
    "Evicted": "free the node's disk or memory, or raise the component's requests",
    "UnexpectedAdmissionError": "restart the device plugin of the node, and delete the pod",
    "NodeLost": "check the node; its pods return when it answers, or elsewhere when it is deleted",
    "Starting": "wait until the weights are loaded, at most startupSeconds; the log shows the progress",
    "NotReady": "read `kubectl logs` of the pod; an orchestrator is not ready without an encoder or a language model",
    "Waiting": "read the events by `kubectl describe pod`, if it lasts",
    "Terminating": "wait until its calls have ended, at most its grace period",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A reason for which a pod is not ready, in the words of Kubernetes, with its message and its remedy."""

    reason: str
    message: str = ""

    @property
    def remedy(self) -> str:
        """The change that makes the pod ready."""
        return _REMEDIES.get(self.reason, "read the events by `kubectl describe pod`")

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.reason, " ".join(self.message.split()).rstrip("."))))


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod of a component. `age` is in seconds. `problem` is None if the pod is ready."""

    name: str
    node: str
    phase: str
    ready: bool
    restarts: int
    age: float
    image: str
    gpu: str
    problem: Problem | None

    @classmethod
    def of(cls, pod: Json, kind: str, now: datetime | None = None) -> PodState:
        """Return the state of a pod whose service runs in the container `kind`."""
        metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
        container = service_container(spec, kind)
        created = datetime.fromisoformat(metadata["creationTimestamp"])
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        ending = bool(metadata.get("deletionTimestamp"))
        ready = conditions.get("Ready", {}).get("status") == "True" and not ending
        return cls(
            name=metadata["name"],
            node=spec.get("nodeName", ""),
            phase="Terminating" if ending else status.get("phase", "Unknown"),
            ready=ready,
            restarts=sum(int(each.get("restartCount", 0)) for each in status.get("containerStatuses") or ()),
            age=max(0.0, ((now or datetime.now(UTC)) - created).total_seconds()),
            image=container.get("image", ""),
            gpu=gpu_of(container),
            problem=None if ready else Problem("Terminating") if ending else _problem(status, conditions),
        )


def _problem(status: Json, conditions: Mapping[str, Json]) -> Problem:
    """Return the first problem of a pod in the order in which a pod starts."""
    if status.get("phase") in ("Failed", "Unknown") or status.get("reason") == "NodeLost":
        return Problem(status.get("reason") or str(status.get("phase")), status.get("message") or "")
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Problem(scheduled.get("reason") or "Unschedulable", scheduled.get("message") or "")
    for container in _containers(status):
        if problem := _problem_of_container(container):
            return problem
    if any(each.get("started") is False for each in status.get("containerStatuses") or ()):
        return Problem("Starting", "the startup probe has not succeeded yet")
    if status.get("phase") == "Pending":
        return Problem("Waiting", "the node prepares the pod")
    ready = conditions.get("Ready", {})
    return Problem("NotReady", ready.get("message") or "the readiness probe fails")


def _problem_of_container(container: Json) -> Problem | None:
    """Return why a container waits or has ended, or None if it runs or waits for its turn."""
    state = container.get("state") or {}
    last: Mapping[str, Any] = (container.get("lastState") or {}).get("terminated") or {}
    waiting = state.get("waiting")
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing", None):
        if last.get("reason") == "OOMKilled":
            return Problem("OOMKilled", f"the container {container['name']} used more memory than its limit")
        message = _end_of(last) if last else waiting.get("message") or ""
        return Problem(waiting["reason"], f"{container['name']}: {message}" if message else "")
    ended = state.get("terminated")
    if ended and ended.get("exitCode") != 0:
        return Problem(ended.get("reason") or "Error", f"{container['name']}: {_end_of(ended)}")
    return None


def _end_of(terminated: Mapping[str, Any]) -> str:
    """Return the exit code of a container, and the last line of its log, if the kubelet kept it."""
    lines = str(terminated.get("message") or "").strip().splitlines()
    return ", ".join(filter(None, (f"exit code {terminated.get('exitCode')}", lines[-1] if lines else "")))


def _containers(status: Json) -> Iterator[Json]:
    """Yield the states of a pod's containers in the order in which they start."""
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()
