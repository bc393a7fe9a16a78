"""The writer of a generation's events. It numbers the parts and keeps the grammar of events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf

from motet.core.clock import now
from motet.core.errors import (
    CancelledError,
    DeadlineError,
    FaultError,
    MotetError,
    Reason,
    RetryableError,
    forget_frames,
)
from motet.core.events import (
    TEXT,
    Accepted,
    Artifact,
    Done,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanInput,
    PlanNode,
    State,
    Usage,
)
from motet.core.workers import Progress
from orchestrator.generation.events.event_log import EventLog
from orchestrator.generation.text_coalescer import TextCoalescer, caption_of
from orchestrator.generation.worker_calls import WorkerCalls

TEXT_TYPE = "text/plain"


@dataclass(slots=True, eq=False)
class OpenPart:
    """A part that is not finished.

    `size` is the code points or bytes that were sent, `steps` the denoising steps that were reported.
    """

    index: int
    id: str
    modality: str
    anchor: int
    caption: str = ""
    size: int = 0
    steps: int = 0
    content: list[str] = field(default_factory=list)


class EventWriter:
    """Writes the events of a generation to its log. The events keep the grammar, whatever the order of the calls.

    Calls for a part that is closed, and calls after `finish`, are ignored, because workers that were just stopped may
    still send something. Part ids follow from the parts' indices, so equal answers have equal ids. Text that ends early
    is kept: its part is done, and the record's error says why the text ends. With `fallback`, the caption of a failed
    media part replaces the part, as a text part with the same index and anchor.

    Previews and the bytes of media take at most half of `max_bytes` of the log. Beyond it, previews are left out, and
    the caller has to download the media. Beyond `max_bytes`, progress is left out.
    """

    def __init__(
        self, name: str, log: EventLog, *, fallback: bool = False, interval: float = 0.02, max_bytes: float = inf
    ) -> None:
        self.name = name
        self._log = log
        self._max_bytes = max_bytes
        self._fallback = fallback
        self._coalescer = TextCoalescer(self._send_text, interval)
        self._open: dict[str, OpenPart] = {}
        self._text: OpenPart | None = None
        self._caption = ""
        self._next_index = 0
        self._nodes: tuple[PlanNode, ...] = ()
        self._plan_complete = False
        self._done: list[tuple[int, PartDone]] = []
        self._failed: list[tuple[int, PartFailed]] = []
        self._tokens = (0, 0)
        self._omitted_turns = 0
        self._steps = 0
        self._last_usage = Usage()
        self._created = time.time()
        self._started = now()
        self._outcome: tuple[State, MotetError | None, float | None] | None = None
        self.calls = WorkerCalls()
        """The calls to workers, for the record."""
        self.finished = False
        """True once `Done` was written."""
        self.text_length = 0
        """Code points of text so far, which is the anchor of the next media part."""
        self.usable = False
        """True once the answer has media, or text that is not blank."""

    @property
    def full(self) -> bool:
        """True if the log has `max_bytes` bytes or more."""
        return self._log.size_bytes >= self._max_bytes

    def accept(self, seed: int, deadline: float | None) -> None:
        """Write `Accepted`."""
        self._log.append(Accepted(self.name, seed, deadline))

    def write(self, text: str) -> None:
        """Append text to the open text part, or to a new one."""
        if self.finished or not text:
            return
        if self._text is None:
            self._text = self._start(self._next_part(TEXT), TEXT_TYPE)
        self._text.content.append(text)
        self.text_length += len(text)
        self.usable = self.usable or not text.isspace()
        self._coalescer.write(text)

    def end_text(self) -> None:
        """Close the text part, if one is open."""
        if self._text is None:
            return
        self._coalescer.flush()
        part, self._text = self._text, None
        text = "".join(part.content)
        self._caption = caption_of(text) or self._caption
        self._close_done(part, PartDone(part.id, sha256(text.encode()).digest()))

    def start_media(self, modality: str, media_type: str, inputs: tuple[PlanInput, ...] = ()) -> OpenPart:
        """Add a media part to the plan, after the parts that are its inputs, and start it at the current position."""
        self.end_text()
        part = self._next_part(modality, self._caption)
        if not self.finished:
            self._nodes = (*self._nodes, PlanNode(part.id, modality, inputs))
            self._log.append(PlanGrown(self._nodes, complete=False))
            self._start(part, media_type)
        return part

    def complete_plan(self) -> None:
        """Write the complete plan, once. No media part may be started after it."""
        if not self._plan_complete:
            self._plan_complete = True
            self._log.append(PlanGrown(self._nodes, complete=True))

    def progress(self, part_id: str, progress: Progress) -> None:
        """Write the progress of a media part. Steps that were reported before are skipped."""
        part = self._media_part(part_id)
        if part is not None and part.steps < progress.step <= progress.total:
            self._steps += progress.step - part.steps
            part.steps = progress.step
            preview = progress.preview
            if preview is not None and not self._fits(len(preview.data)):
                preview = None
            if not self.full:
                self._log.append(PartProgress(part_id, progress.step, progress.total, preview))

    def complete(
        self, part_id: str, chunks: Sequence[bytes], artifact: Artifact, provenance: Mapping[str, str]
    ) -> None:
        """Write the result of a media part. `chunks` are its bytes, or empty if the caller has to download them."""
        part = self._media_part(part_id)
        if part is None:
            return
        for chunk in chunks if self._fits(artifact.size_bytes) else ():
            self._log.append(PartDelta(part_id, part.size, chunk))
            part.size += len(chunk)
        self.usable = True
        self._close_done(part, PartDone(part_id, artifact.sha256, artifact, provenance))

    def fail(self, part_id: str, error: MotetError) -> None:
        """Write the failure of a media part."""
        part = self._media_part(part_id)
        if part is None:
            return
        forget_frames(error)
        replace = self._fallback and part.caption and not isinstance(error, CancelledError)
        fallback = OpenPart(part.index, f"{part.id}-text", TEXT, part.anchor) if replace else None
        failed = PartFailed(part_id, error, _may_succeed_later(error), fallback.id if fallback else "")
        del self._open[part_id]
        self._failed.append((part.index, failed))
        self._log.append(failed)
        if fallback is not None:
            self._write_fallback(fallback, part.caption)

    def set_usage(self, input_tokens: int, output_tokens: int, omitted_turns: int = 0) -> None:
        """Write the counts of the language model."""
        if not self.finished:
            self._tokens, self._omitted_turns = (input_tokens, output_tokens), omitted_turns
            self._log.append(self._usage())

    def finish(
        self,
        error: MotetError | None = None,
        *,
        open_parts_error: MotetError | None = None,
        all_or_nothing: bool = False,
        kept_for: float | None = None,
    ) -> None:
        """Write `Done`, once. `error` becomes the record's error.

        Open media parts fail with `open_parts_error`, or else with `error`. With `all_or_nothing`, an incomplete answer
        has failed. `kept_for` is the number of seconds for which the result is kept.
        """
        if self.finished:
            return
        self.end_text()
        self.complete_plan()
        for part in list(self._open.values()):
            self.fail(part.id, open_parts_error or error or FaultError(f"{part.id} was not completed"))
        state = self._final_state(error, all_or_nothing)
        if error is None and state is State.FAILED:
            error = self._failed[0][1].error if self._failed else FaultError("the language model wrote nothing")
        forget_frames(error)
        self._log.append(self._usage())
        self._outcome = (state, error, None if kept_for is None else time.time() + kept_for)
        self.finished = True
        self.calls.freeze()
        self._log.append(Done(self.record(pending=1)))

    def drop_text(self) -> None:
        """Forget the text of the open text part. `finish` then fails the part."""
        self._text = None

    def record(self, *, pending: int = 0) -> Generation:
        """Return the generation's record. Its last sequence number includes `pending` events still to be written."""
        state, error, expires = self._outcome or (State.RUNNING, None, None)
        return Generation(
            name=self.name,
            state=state,
            parts=tuple(part for _, part in sorted(self._done, key=lambda item: item[0])),
            failures=tuple(part for _, part in sorted(self._failed, key=lambda item: item[0])),
            usage=self._usage(),
            error=error,
            create_time=self._created,
            expire_time=expires,
            last_sequence=len(self._log) + pending,
            calls=self.calls.calls,
        )

    def _final_state(self, error: MotetError | None, all_or_nothing: bool) -> State:
        if isinstance(error, CancelledError):
            return State.CANCELLED
        if not self.usable or (all_or_nothing and (error or self._failed)):
            return State.FAILED
        return State.PARTIAL if error or self._failed else State.SUCCEEDED

    def _usage(self) -> Usage:
        if not self.finished:
            self._last_usage = Usage(*self._tokens, self._steps, now() - self._started, self._omitted_turns)
        return self._last_usage

    def _next_part(self, modality: str, caption: str = "") -> OpenPart:
        index = self._next_index
        self._next_index += 1
        return OpenPart(index, f"part-{index}", modality, self.text_length, caption)

    def _start(self, part: OpenPart, media_type: str) -> OpenPart:
        self._open[part.id] = part
        self._log.append(PartStarted(part.id, part.index, part.modality, media_type, part.anchor, part.caption))
        return part

    def _fits(self, size: int) -> bool:
        """Return whether media of this size fit into their part of the log."""
        return self._log.size_bytes + size <= self._max_bytes / 2

    def _media_part(self, part_id: str) -> OpenPart | None:
        part = self._open.get(part_id)
        return None if part is self._text else part

    def _send_text(self, text: str) -> None:
        if self._text is not None:
            self._log.append(PartDelta(self._text.id, self._text.size, text))
            self._text.size += len(text)

    def _close_done(self, part: OpenPart, done: PartDone) -> None:
        del self._open[part.id]
        self._done.append((part.index, done))
        self._log.append(done)

    def _write_fallback(self, part: OpenPart, text: str) -> None:
        self._start(part, TEXT_TYPE)
        self._log.append(PartDelta(part.id, 0, text))
        self.usable = True
        self._close_done(part, PartDone(part.id, sha256(text.encode()).digest()))


def _may_succeed_later(error: MotetError) -> bool:
    """Return whether the same request may succeed later. After a fault, equal work would fail again."""
    if error.reason is Reason.DEPENDENCY_FAILED and isinstance(error.__cause__, MotetError):
        return _may_succeed_later(error.__cause__)
    return isinstance(error, RetryableError | DeadlineError | CancelledError)
