"""The timeline of one generation: the time of each worker's call, and the critical path. It has no text of anyone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from motet.core.events import (
    CallSource,
    Generation,
    PartFailed,
    PlanNode,
    State,
    WorkerCall,
)

_ENCODER, _LANGUAGE_MODEL = "encoder", "llm"


@dataclass(frozen=True, slots=True)
class TimelineNode:
    """A call of a worker in a timeline. Times are in seconds since the generation was accepted.

    `name` is the modality of a part with its id, or the component. `requested` is the time at which the model requested
    a media part, and otherwise `start`. The call began at `start`, a replica took it at `taken`, and it ended at `end`,
    or has run until then if `running`. `inputs` are the names of the nodes whose media the call took. On the critical
    path, the generation waited for the call until `needed`; elsewhere `needed` is None. `outcome` is "done", "running",
    or the reason of a failure. `gpu_seconds`, `cpu_seconds` and `mean_batch_size` are those of the call.
    """

    name: str
    requested: float
    start: float
    taken: float
    end: float
    outcome: str
    source: CallSource
    replica: int | None
    attempts: int
    inputs: tuple[str, ...] = ()
    signals: tuple[float, ...] = ()
    needed: float | None = None
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    mean_batch_size: float = 0.0

    @property
    def critical(self) -> bool:
        """True for a call of the critical path."""
        return self.needed is not None

    @property
    def compute(self) -> float:
        """Seconds for which the call occupied a GPU, or a CPU where the worker has no GPU."""
        return self.gpu_seconds or self.cpu_seconds

    @property
    def work(self) -> float:
        """Seconds at a replica."""
        return self.end - self.taken

    @property
    def queue_wait(self) -> float:
        """Seconds from the start of the call until a replica took it."""
        return self.taken - self.start

    @property
    def input_wait(self) -> float:
        """Seconds from the request of the part until its inputs were complete and its call began."""
        return self.start - self.requested


@dataclass(frozen=True)
class Timeline:
    """The calls of one generation, in the order in which they began, and its critical path.

    The critical path ends with the call that ended last, and goes back from each call to the one that it waited for.
    Its gaps, and the time after its end, are the overhead of the orchestrator.
    """

    generation: str
    state: State
    elapsed: float
    nodes: tuple[TimelineNode, ...]

    @cached_property
    def critical_seconds(self) -> float:
        """Seconds in which the generation waited for a call of the critical path."""
        return sum(node.needed - node.start for node in self.nodes if node.needed is not None)

    @property
    def queue_seconds(self) -> float:
        """Seconds of the critical path in which a call waited for a replica."""
        return sum(node.queue_wait for node in self.nodes if node.critical)

    @property
    def overhead(self) -> float:
        """Seconds in which the generation waited for no call."""
        return max(0.0, self.elapsed - self.critical_seconds)

    @property
    def explained(self) -> float:
        """The share of the elapsed time in which the generation waited for a call."""
        return self.critical_seconds / self.elapsed if self.elapsed else 0.0


def timeline_of(record: Generation, plan: Iterable[PlanNode]) -> Timeline:
    """Return the timeline of a generation from its record and its plan.

    A server that records no calls gives a timeline without nodes.
    """
    elapsed = record.usage.elapsed
    jobs = {node.part_id: node for node in plan}
    failures = {failure.part_id: failure for failure in record.failures}
    calls = {call.part_id or call.component: call for call in record.calls}
    ends = {key: max(call.start, elapsed if call.end is None else call.end) for key, call in calls.items()}
    signals = tuple(sorted(call.requested for call in record.calls if call.requested is not None))
    needed = _critical_path(calls, jobs, ends)
    nodes = []
    for key, call in calls.items():
        job = jobs.get(key)
        nodes.append(
            TimelineNode(
                name=_name_of(key, job),
                requested=call.start if call.requested is None else min(call.requested, call.start),
                start=call.start,
                taken=min(call.start + max(0.0, call.queue_wait or 0.0), ends[key]),
                end=ends[key],
                outcome=_outcome_of(call, record.state, failures.get(key)),
                source=call.source,
                replica=call.replica,
                attempts=call.attempts,
                inputs=tuple(_name_of(need, jobs.get(need)) for need in job.depends_on) if job else (),
                signals=signals if key == _LANGUAGE_MODEL else (),
                needed=needed.get(key),
                gpu_seconds=call.gpu_seconds,
                cpu_seconds=call.cpu_seconds,
                mean_batch_size=call.mean_batch_size,
            )
        )
    return Timeline(record.name, record.state, elapsed, tuple(nodes))


def _critical_path(
    calls: Mapping[str, WorkerCall], jobs: Mapping[str, PlanNode], ends: Mapping[str, float]
) -> dict[str, float]:
    """Return the time until which the generation waited for each call of the critical path."""
    path: dict[str, float] = {}
    key = max(ends, key=lambda each: ends[each], default=None)
    until = ends[key] if key is not None else 0.0
    while key is not None and key not in path:
        path[key] = max(calls[key].start, until)
        candidates: dict[str, float] = {}
        if key == _LANGUAGE_MODEL:
            candidates = {_ENCODER: ends[_ENCODER]} if _ENCODER in ends else {}
        elif key != _ENCODER:
            needs = jobs[key].depends_on if key in jobs else ()
            candidates = {need: ends[need] for need in needs if need in ends}
            if _LANGUAGE_MODEL in calls and (signal := calls[key].requested) is not None:
                # The model may continue after its signal, but the part waited for the signal only.
                candidates[_LANGUAGE_MODEL] = min(signal, ends[_LANGUAGE_MODEL])
        key = max(candidates, key=lambda each: candidates[each], default=None)
        until = candidates[key] if key is not None else 0.0
    return path


def _name_of(key: str, node: PlanNode | None) -> str:
    return key if node is None else f"{node.modality} ({key})"


def _outcome_of(call: WorkerCall, state: State, failure: PartFailed | None) -> str:
    if failure is not None:
        return failure.error.reason.value
    if call.end is None:
        return "running" if state is State.RUNNING else "stopped"
    return "done"
