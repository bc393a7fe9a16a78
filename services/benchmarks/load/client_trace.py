"""One generation as its client observes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.errors import MotetError
from motet.core.events import TEXT, Accepted, Done, Event, PartDelta, PartDone, PartFailed, PartStarted, State
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet


@dataclass(slots=True)
class PartTrace:
    """The times of one part, in seconds after the request was due. `finished` is None if the part did not complete.

    `chunks` are the bytes of a media part so far. `media_type` and `sha256` are what the server says about it.
    """

    modality: str
    started: float
    finished: float | None = None
    chunks: list[bytes] = field(default_factory=list)
    media_type: str = ""
    sha256: bytes = b""

    @property
    def size(self) -> int:
        """The number of bytes of a media part so far."""
        return sum(map(len, self.chunks))


@dataclass(slots=True)
class ClientTrace:
    """The events of one request. Times are in seconds after the request was due; None if the event did not arrive.

    `due` is on the clock of the event loop. `sent_late` is the delay between due and sent. `accepted` is true if a
    generation started. `cancelled_after` is the time at which the client disconnected. `error_reason` is the reason of
    the first error, "" without an error. `media_fault` says what is wrong with the media, "" if nothing is known to be.
    """

    due: float
    sent_late: float = 0.0
    accepted: bool = False
    cancelled_after: float | None = None
    first_text: float | None = None
    last_text: float | None = None
    parts: dict[str, PartTrace] = field(default_factory=dict)
    total: float | None = None
    state: State | None = None
    error_reason: str = ""
    media_fault: str = ""
    tokens: int = 0
    steps: int = 0

    @property
    def media(self) -> list[PartTrace]:
        """The parts that are not text."""
        return [part for part in self.parts.values() if part.modality != TEXT]

    @property
    def first_media(self) -> float | None:
        """The time at which the first media part was complete."""
        return min((part.finished for part in self.media if part.finished is not None), default=None)

    @property
    def succeeded(self) -> bool:
        """True if every part was complete, and no media are known to be wrong."""
        return self.state is State.SUCCEEDED and not self.media_fault

    @property
    def failure(self) -> str:
        """The reason why a request did not succeed."""
        return self.error_reason or self.media_fault or str(self.state)

    def record(self, event: Event) -> None:
        """Record an event that arrives now."""
        at = now() - self.due
        match event.payload:
            case Accepted():
                self.accepted = True
            case PartStarted(part_id, _, modality, media_type):
                self.parts[part_id] = PartTrace(modality, at, media_type=media_type)
            case PartDelta(chunk=str()):
                self.first_text = at if self.first_text is None else self.first_text
                self.last_text = at
            case PartDelta(part_id, offset, bytes(chunk)):
                part = self.parts[part_id]
                if offset != part.size:
                    self.media_fault = self.media_fault or f"the {part.modality} part has a gap"
                part.chunks.append(chunk)
            case PartDone(part_id, digest, artifact):
                part = self.parts[part_id]
                part.finished = at
                part.sha256 = digest
                if artifact is not None and part.size != artifact.size_bytes:
                    self.media_fault = self.media_fault or f"the {part.modality} part is not complete"
            case PartFailed(part_id, error):
                self.error_reason = self.error_reason or str(error.reason)
            case Done(generation):
                self.total, self.state = at, generation.state
                self.tokens, self.steps = generation.usage.output_tokens, generation.usage.decoder_steps


def text_request(text: str, seed: int, timeout: float | None = None) -> GenerationRequest:
    """Return a request with one text message of the user."""
    return GenerationRequest((Message("user", (text,)),), seed=seed, timeout=timeout)


async def trace_request(motet: Motet, request: GenerationRequest, trace: ClientTrace | None = None) -> ClientTrace:
    """Send a request and record its events until the last one. Without a `trace`, the request is due now.

    An error is recorded, not raised. `trace` is filled while events arrive, so it is also valid after cancellation.
    """
    trace = trace or ClientTrace(now())
    trace.sent_late = now() - trace.due
    try:
        async with closing(motet.generate(request)) as events:
            async for event in events:
                trace.record(event)
    except MotetError as error:
        trace.error_reason = str(error.reason)
    return trace


def latencies(traces: Iterable[ClientTrace]) -> dict[str, list[float]]:
    """Return all latencies in seconds, by kind: first text, first media, total, and each modality."""
    seconds_by_kind: dict[str, list[float]] = {"first text": [], "first media": [], "total": []}
    for trace in traces:
        kinds = [("first text", trace.first_text), ("first media", trace.first_media), ("total", trace.total)]
        kinds += [(part.modality, part.finished) for part in trace.media]
        for kind, seconds in kinds:
            if seconds is not None:
                seconds_by_kind.setdefault(kind, []).append(seconds)
    return {kind: seconds for kind, seconds in seconds_by_kind.items() if seconds}
