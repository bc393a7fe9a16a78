"""The answer while it is being made: it gives each part its place, and tells of it once and in order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from motet.core.clock import now
from motet.core.errors import CancelledError, DeadlineError, FaultError, MotetError, RetryableError
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
    PlanNode,
    State,
    Usage,
)
from motet.core.workers import Progress
from orchestrator.generation.event_log import EventLog
from orchestrator.generation.text_coalescer import TextCoalescer, caption_of

TEXT_TYPE = "text/plain"


@dataclass(slots=True, eq=False)
class OpenPart:
    """One part: `size` is what was told of it so far, in code points or bytes; `steps` the denoising steps done."""

    index: int
    id: str
    modality: str
    anchor: int
    caption: str = ""
    size: int = 0
    steps: int = 0
    content: list[str] = field(default_factory=list)


class EventWriter:
    """Turns what happens into events that keep the grammar, whoever calls in whatever order.

    What comes for a part that is closed, or after the end, is dropped: work that was just stopped may still speak.
    Part ids follow from places, so that the same answer has the same ids. Text that is cut off stays: its part is done,
    and the record's error says why it ends there. Where `fallback` is set, a failed media part's caption stands in for
    it, as a text part with its index and anchor.
    """

    def __init__(self, name: str, log: EventLog, *, fallback: bool = False, interval: float = 0.02) -> None:
        self.name = name
        self._log = log
        self._fallback = fallback
        self._prose = TextCoalescer(self._send_text, interval)
        self._open: dict[str, OpenPart] = {}
        self._text: OpenPart | None = None
        self._caption = ""
        self._places = 0
        self._nodes: tuple[PlanNode, ...] = ()
        self._planned = False
        self._done: list[tuple[int, PartDone]] = []
        self._failed: list[tuple[int, PartFailed]] = []
        self._tokens = (0, 0)
        self._steps = 0
        self._spent = Usage()
        self._created = time.time()
        self._started = now()
        self._outcome: tuple[State, MotetError | None, float | None] | None = None
        self.written = 0
        """Code points of text so far: the anchor of media that come next."""
        self.usable = False
        """Whether a caller could use what there is so far: media, or text that is not blank."""

    @property
    def over(self) -> bool:
        """Whether `Done` was told."""
        return self._outcome is not None

    def accept(self, seed: int, deadline: float | None) -> None:
        """Tell that work has begun."""
        self._log.append(Accepted(self.name, seed, deadline))

    def write(self, text: str) -> None:
        """More text, in the open text part or a new one."""
        if self.over or not text:
            return
        if self._text is None:
            self._text = self._begin(self._next(TEXT), TEXT_TYPE)
        self._text.content.append(text)
        self.written += len(text)
        self.usable = self.usable or not text.isspace()
        self._prose.write(text)

    def end_text(self) -> None:
        """Close the text part, if one is open."""
        if self._text is None:
            return
        self._prose.flush()
        part, self._text = self._text, None
        text = "".join(part.content)
        self._caption = caption_of(text) or self._caption
        self._close_done(part, PartDone(part.id, sha256(text.encode()).digest()))

    def ask(self, modality: str, media_type: str, needs: tuple[str, ...] = ()) -> OpenPart:
        """Open a media part here: plan it, after the parts that it needs, and start it."""
        self.end_text()
        part = self._next(modality, self._caption)
        if not self.over:
            self._nodes = (*self._nodes, PlanNode(part.id, modality, needs))
            self._log.append(PlanGrown(self._nodes, complete=False))
            self._begin(part, media_type)
        return part

    def complete_plan(self) -> None:
        """No media part will be asked for any more."""
        if not self._planned:
            self._planned = True
            self._log.append(PlanGrown(self._nodes, complete=True))

    def progress(self, part_id: str, progress: Progress) -> None:
        """A media part came nearer to being done. Steps that were told already are not told again."""
        part = self._media(part_id)
        if part is not None and part.steps < progress.step <= progress.total:
            self._steps += progress.step - part.steps
            part.steps = progress.step
            self._log.append(PartProgress(part_id, progress.step, progress.total, progress.preview))

    def complete(
        self, part_id: str, chunks: Sequence[bytes], artifact: Artifact, provenance: Mapping[str, str]
    ) -> None:
        """A media part is made; `chunks` are its bytes, where they are sent along."""
        part = self._media(part_id)
        if part is None:
            return
        for chunk in chunks:
            self._log.append(PartDelta(part_id, part.size, chunk))
            part.size += len(chunk)
        self.usable = True
        self._close_done(part, PartDone(part_id, artifact.sha256, artifact, provenance))

    def fail(self, part_id: str, error: MotetError) -> None:
        """A media part will not be complete."""
        part = self._media(part_id)
        if part is None:
            return
        stand_in = self._stand_in(part) if self._fallback and not isinstance(error, CancelledError) else None
        failed = PartFailed(part_id, error, _may_succeed_later(error), stand_in.id if stand_in else "")
        del self._open[part_id]
        self._failed.append((part.index, failed))
        self._log.append(failed)
        if stand_in is not None:
            self._tell(stand_in, part.caption)

    def spend(self, input_tokens: int, output_tokens: int) -> None:
        """Tell what the language model spent."""
        if not self.over:
            self._tokens = (input_tokens, output_tokens)
            self._log.append(self._usage())

    def finish(
        self,
        error: MotetError | None = None,
        *,
        rest: MotetError | None = None,
        whole: bool = False,
        kept_for: float | None = None,
    ) -> None:
        """Tell the end, once; `error` goes into the record. Media that are not done fail with `rest`, else `error`.

        `whole` says that a part of an answer is as good as none. `kept_for` is for how many seconds the result stays.
        """
        if self.over:
            return
        self.end_text()
        self.complete_plan()
        for part in list(self._open.values()):
            self.fail(part.id, rest or error or FaultError(f"{part.id} was left unfinished"))
        state = self._state_after(error, whole)
        if error is None and state is State.FAILED:
            error = self._failed[0][1].error if self._failed else FaultError("the language model wrote nothing")
        self._log.append(self._usage())
        self._outcome = (state, error, None if kept_for is None else time.time() + kept_for)
        self._log.append(Done(self.record(pending=1)))

    def record(self, *, pending: int = 0) -> Generation:
        """The generation as it is now, or will be once `pending` more events are told."""
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
        )

    def _state_after(self, error: MotetError | None, whole: bool) -> State:
        if isinstance(error, CancelledError):
            return State.CANCELLED
        if not self.usable or (whole and (error or self._failed)):
            return State.FAILED
        return State.PARTIAL if error or self._failed else State.SUCCEEDED

    def _usage(self) -> Usage:
        if self._outcome:
            return self._spent
        self._spent = Usage(*self._tokens, self._steps, now() - self._started)
        return self._spent

    def _next(self, modality: str, caption: str = "") -> OpenPart:
        part = OpenPart(self._places, f"part-{self._places}", modality, self.written, caption)
        self._places += 1
        return part

    def _begin(self, part: OpenPart, media_type: str) -> OpenPart:
        self._open[part.id] = part
        self._log.append(PartStarted(part.id, part.index, part.modality, media_type, part.anchor, part.caption))
        return part

    def _media(self, part_id: str) -> OpenPart | None:
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

    def _stand_in(self, failed: OpenPart) -> OpenPart | None:
        return OpenPart(failed.index, f"{failed.id}-text", TEXT, failed.anchor) if failed.caption else None

    def _tell(self, part: OpenPart, text: str) -> None:
        self._begin(part, TEXT_TYPE)
        self._log.append(PartDelta(part.id, 0, text))
        self.usable = True
        self._close_done(part, PartDone(part.id, sha256(text.encode()).digest()))


def _may_succeed_later(error: MotetError) -> bool:
    """Whether the same request may do better another time; not so after a fault, which equal work would meet again."""
    return isinstance(error, RetryableError | DeadlineError | CancelledError)
