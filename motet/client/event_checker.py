"""A check that a server's events keep the grammar of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from motet.core.errors import FaultError, Reason
from motet.core.events import (
    TEXT,
    Accepted,
    Done,
    Event,
    EventPayload,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanNode,
    State,
)


@dataclass(slots=True)
class _OpenPart:
    is_text: bool
    size: int = 0
    step: int = 0


class EventChecker:
    """A checker of one generation's events, in order. `protos/motet/v1/event.proto` defines their grammar.

    Each method raises `FaultError` with the reason `EVENTS_INVALID` if the server breaks the grammar. `peer` names the
    server. If the stream begins after event `sequence`, parts that started before are unknown and not checked.
    """

    def __init__(self, peer: str, sequence: int = 0) -> None:
        self._peer = peer
        self.sequence = sequence
        """The number of the latest event."""
        self.generation = ""
        """The name of the generation, or "" before `accepted`."""
        self.done = False
        """True after `done`."""
        self._from_start = sequence == 0
        self._nodes: tuple[PlanNode, ...] = ()
        self._plan_complete = False
        self._open: dict[str, _OpenPart] = {}
        self._ended: set[str] = set()
        self._failed = False

    def skip(self, sequence: int) -> None:
        """Check the sequence number of a heartbeat, or of an event that this version does not know."""
        if sequence not in (self.sequence, self.sequence + 1):
            self._refuse(f"event {sequence} follows event {self.sequence}")
        self.sequence = sequence

    def check(self, event: Event) -> None:
        """Check the next event."""
        if event.sequence != self.sequence + 1:
            self._refuse(f"event {event.sequence} follows event {self.sequence}")
        self.sequence = event.sequence
        kind = type(event.payload)
        if (event.sequence == 1) != (kind is Accepted):
            self._refuse("the first event, and no other, must be `accepted`")
        if (check := _CHECKS.get(kind)) is not None:
            check(self, event.payload)

    def _accept(self, accepted: Accepted) -> None:
        self.generation = accepted.generation

    def _check_plan(self, plan: PlanGrown) -> None:
        if self._plan_complete or plan.nodes[: len(self._nodes)] != self._nodes:
            self._refuse("a plan must hold every node of the plan before it, and none follows the complete plan")
        earlier = {node.part_id for node in self._nodes}
        for node in plan.nodes[len(self._nodes) :]:
            for source in node.inputs:
                if source.part_id and source.part_id not in earlier:
                    self._refuse(f"{node.part_id} takes {source.part_id}, which is no earlier part of the plan")
            earlier.add(node.part_id)
        self._nodes, self._plan_complete = plan.nodes, plan.complete

    def _check_start(self, started: PartStarted) -> None:
        part_id, is_text = started.part_id, started.modality == TEXT
        if part_id in self._open or part_id in self._ended:
            self._refuse(f"{part_id} started twice")
        if started.index < 0 or started.text_anchor < 0:
            self._refuse(f"{part_id} has a negative position")
        if self._from_start and not is_text and part_id not in (node.part_id for node in self._nodes):
            self._refuse(f"{part_id} started, but no plan lists it")
        self._open[part_id] = _OpenPart(is_text)

    def _check_delta(self, delta: PartDelta) -> None:
        part = self._part(delta.part_id)
        if part is None:
            return
        if isinstance(delta.chunk, str) != part.is_text:
            self._refuse(f"{delta.part_id} must have only text chunks if it is text, and only bytes if it is media")
        if delta.offset != part.size:
            self._refuse(f"a chunk of {delta.part_id} is at {delta.offset}, not at {part.size}")
        part.size += len(delta.chunk)

    def _check_progress(self, progress: PartProgress) -> None:
        part = self._part(progress.part_id)
        if part is None:
            return
        if part.is_text or not part.step <= progress.step <= progress.total or progress.total == 0:
            self._refuse(f"step {progress.step} of {progress.total} follows step {part.step} of {progress.part_id}")
        part.step = progress.step

    def _check_part_done(self, done: PartDone) -> None:
        part = self._close(done.part_id)
        if part is not None and part.is_text != (done.artifact is None):
            self._refuse(f"{done.part_id} must have an artifact if it is media, and none if it is text")

    def _check_part_failed(self, failed: PartFailed) -> None:
        self._close(failed.part_id)
        self._failed = True

    def _check_done(self, done: Done) -> None:
        state = done.generation.state
        if self._open:
            self._refuse(f"the generation is done, but {', '.join(self._open)} did not end")
        if state is State.RUNNING or (state is State.SUCCEEDED and (self._failed or done.generation.failures)):
            self._refuse(f"the generation is done in state {state.name}, which contradicts its events")
        self.done = True

    def _part(self, part_id: str) -> _OpenPart | None:
        """Return an open part, or None for a part that may have started before the first event of this stream."""
        part = self._open.get(part_id)
        if part is None and (self._from_start or part_id in self._ended):
            self._refuse(f"an event belongs to {part_id}, which is not open")
        return part

    def _close(self, part_id: str) -> _OpenPart | None:
        part = self._part(part_id)
        self._open.pop(part_id, None)
        self._ended.add(part_id)
        return part

    def _refuse(self, problem: str) -> NoReturn:
        raise FaultError(
            f"{self._peer} broke the contract of its events: {problem}; use a server of this client's version",
            Reason.EVENTS_INVALID,
        )


# A table is faster than a chain of class patterns, and every event of a client passes here.
_CHECKS: Mapping[type[EventPayload], Callable[[EventChecker, Any], None]] = {
    Accepted: EventChecker._accept,
    PartDelta: EventChecker._check_delta,
    PartDone: EventChecker._check_part_done,
    PartFailed: EventChecker._check_part_failed,
    PartProgress: EventChecker._check_progress,
    PartStarted: EventChecker._check_start,
    PlanGrown: EventChecker._check_plan,
    Done: EventChecker._check_done,
}
