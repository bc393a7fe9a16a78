"""A checker of the grammar of events. Every test of the orchestrator that receives events uses it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

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
    State,
    Usage,
)


class GrammarChecker:
    """Reads the events of a generation in order. An event that breaks the grammar is an `AssertionError`."""

    def __init__(self) -> None:
        self.started: dict[str, PartStarted] = {}
        self.ended: dict[str, PartDone | PartFailed] = {}
        self.content: dict[str, str | bytes] = {}
        self.steps: dict[str, int] = {}
        self.plan = PlanGrown((), complete=False)
        self.expected_fallbacks: dict[str, str] = {}

    def read(self, payload: EventPayload) -> None:
        """Check one event between `Accepted` and `Done`."""
        match payload:
            case PlanGrown():
                self._grow(payload)
            case PartStarted():
                self._start(payload)
            case PartDelta(part_id, offset, chunk):
                self._open(part_id)
                assert chunk, "an empty delta"
                content = self.content[part_id]
                assert type(chunk) is type(content), "text and bytes do not mix"
                assert offset == len(content), "deltas are contiguous"
                self.content[part_id] = content + chunk  # type: ignore[operator]
            case PartProgress(part_id, step, total):
                self._open(part_id)
                assert self.started[part_id].modality != TEXT
                assert self.steps.get(part_id, 0) < step <= total, "progress goes forward"
                self.steps[part_id] = step
            case PartDone():
                self._finish(payload)
            case PartFailed(part_id):
                self._open(part_id)
                self.ended[part_id] = payload
                if payload.fallback_part_id:
                    self.expected_fallbacks[payload.fallback_part_id] = part_id
            case Usage():
                pass
            case _:
                raise AssertionError(f"{payload} is not allowed here")

    def _grow(self, plan: PlanGrown) -> None:
        assert not self.plan.complete, "the complete plan is the last plan"
        assert plan.nodes[: len(self.plan.nodes)] == self.plan.nodes, "a plan only grows"
        known: set[str] = set()
        for node in plan.nodes:
            assert set(node.depends_on) <= known, "a part needs only earlier parts"
            known.add(node.part_id)
        self.plan = plan

    def _start(self, part: PartStarted) -> None:
        assert part.part_id not in self.started, "a part starts once"
        if failed := self.expected_fallbacks.pop(part.part_id, None):
            replaced = self.started[failed]
            assert (part.index, part.text_anchor) == (replaced.index, replaced.text_anchor)
            assert part.modality == TEXT
        else:
            assert part.index == len({other.index for other in self.started.values()}), "indices have no gaps"
            text_length = sum(
                len(content)
                for part_id, content in self.content.items()
                if isinstance(content, str) and "-text" not in part_id
            )
            assert part.text_anchor == text_length, "the anchor is the number of code points before the part"
        if part.modality != TEXT:
            assert part.part_id in {node.part_id for node in self.plan.nodes}, (
                "a media part is planned before it starts"
            )
        self.started[part.part_id] = part
        self.content[part.part_id] = "" if part.modality == TEXT else b""

    def _finish(self, done: PartDone) -> None:
        self._open(done.part_id)
        content, started = self.content[done.part_id], self.started[done.part_id]
        if isinstance(content, str):
            assert content, "an empty text part"
            assert done.artifact is None
            assert done.sha256 == sha256(content.encode()).digest()
        else:
            assert done.artifact is not None
            assert done.artifact.modality == started.modality
            assert done.artifact.sha256 == done.sha256
            if content:
                assert done.sha256 == sha256(content).digest()
                assert done.artifact.size_bytes == len(content)
        self.ended[done.part_id] = done

    def _open(self, part_id: str) -> None:
        assert part_id in self.started, f"{part_id} has not started"
        assert part_id not in self.ended, f"{part_id} has ended"


def check_events(events: Sequence[Event]) -> GrammarChecker:
    """Check that these are all events of one generation, as `event.proto` specifies them, and return the checker."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1)), "the sequence has no gaps"
    first, *middle, last = [event.payload for event in events]
    assert isinstance(first, Accepted)
    assert isinstance(last, Done)
    checker = GrammarChecker()
    for payload in middle:
        checker.read(payload)
    assert not checker.expected_fallbacks, "a fallback part did not start"
    assert checker.started.keys() == checker.ended.keys(), "each part ends"
    assert checker.plan.complete, "the last plan is complete"
    _check_record(checker, first, last, len(events))
    return checker


def _check_record(checker: GrammarChecker, first: Accepted, last: Done, count: int) -> None:
    record = last.generation
    done = [part for part in checker.ended.values() if isinstance(part, PartDone)]
    failed = [part for part in checker.ended.values() if isinstance(part, PartFailed)]
    index_of = {part_id: part.index for part_id, part in checker.started.items()}
    assert record.name == first.generation
    assert record.last_sequence == count
    assert record.parts == tuple(sorted(done, key=lambda part: index_of[part.part_id]))
    assert [comparable(part) for part in record.failures] == [
        comparable(p) for p in sorted(failed, key=lambda p: index_of[p.part_id])
    ]
    assert record.expire_time is not None
    usable = any(checker.started[part.part_id].modality != TEXT for part in done) or any(
        isinstance(content, str) and content.strip() for content in checker.content.values()
    )
    match record.state:
        case State.SUCCEEDED:
            assert not failed
            assert record.error is None
            assert usable
        case State.PARTIAL:
            assert failed or record.error
            assert usable
        case State.FAILED | State.CANCELLED:
            assert record.error is not None
        case _:
            raise AssertionError("a generation with `Done` is not running")


def comparable(failed: PartFailed) -> tuple[object, ...]:
    """Return the fields of a failure, because errors are compared by identity and gRPC creates new ones."""
    error = failed.error
    return (failed.part_id, type(error), error.reason, error.message, failed.retryable, failed.fallback_part_id)
