"""One answer as its caller experiences it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.errors import MotetError
from motet.core.events import TEXT, Done, Event, PartDelta, PartDone, PartFailed, PartStarted, State
from motet.core.request import GenerationRequest, Message
from motet.core.service import Motet


@dataclass(slots=True)
class Piece:
    """One part: when it was announced, and when it was there; None while it is not, or if it failed."""

    modality: str
    announced: float
    there: float | None = None


@dataclass(slots=True)
class Heard:
    """What came of one request, and when, in seconds since it was due; None for what did not come.

    `refused` is the first reason why something did not come, "" where all did; `late` is by how much the asking came
    after it was due, and `hung_up` when the caller lost patience.
    """

    due: float
    late: float = 0.0
    hung_up: float | None = None
    first_text: float | None = None
    last_text: float | None = None
    pieces: dict[str, Piece] = field(default_factory=dict)
    total: float | None = None
    state: State | None = None
    refused: str = ""
    tokens: int = 0
    steps: int = 0

    @property
    def media(self) -> list[Piece]:
        """The pieces that are not text."""
        return [piece for piece in self.pieces.values() if piece.modality != TEXT]

    @property
    def first_media(self) -> float | None:
        """When the first piece of media was there."""
        return min((piece.there for piece in self.media if piece.there is not None), default=None)

    @property
    def whole(self) -> bool:
        """Whether all of it came."""
        return self.state is State.SUCCEEDED

    def hear(self, event: Event) -> None:
        """Take in an event that arrives now."""
        at = now() - self.due
        match event.payload:
            case PartStarted(part_id, _, modality):
                self.pieces[part_id] = Piece(modality, at)
            case PartDelta(chunk=str()):
                self.first_text = at if self.first_text is None else self.first_text
                self.last_text = at
            case PartDone(part_id):
                self.pieces[part_id].there = at
            case PartFailed(part_id, error):
                self.refused = self.refused or str(error.reason)
            case Done(record):
                self.total, self.state = at, record.state
                self.tokens, self.steps = record.usage.output_tokens, record.usage.decoder_steps


def request_of(text: str, seed: int, timeout: float | None = None) -> GenerationRequest:
    """One user's turn."""
    return GenerationRequest((Message("user", (text,)),), seed=seed, timeout=timeout)


async def listen(motet: Motet, request: GenerationRequest, heard: Heard | None = None) -> Heard:
    """Have a request answered to its end; what it was due to begin with is now, or as `heard` says.

    A refusal is told, not raised. `heard` is filled as events come, so that it is of use when this is cancelled, too.
    """
    heard = heard or Heard(now())
    heard.late = now() - heard.due
    try:
        async with closing(motet.generate(request)) as events:
            async for event in events:
                heard.hear(event)
    except MotetError as error:
        heard.refused = str(error.reason)
    return heard


def latencies(heard: Iterable[Heard]) -> dict[str, list[float]]:
    """Seconds of each kind of thing that came: first text, first media, each modality, and the whole."""
    found: dict[str, list[float]] = {"first text": [], "first media": [], "total": []}
    for one in heard:
        named = [("first text", one.first_text), ("first media", one.first_media), ("total", one.total)]
        named += [(piece.modality, piece.there) for piece in one.media]
        for name, seconds in named:
            if seconds is not None:
                found.setdefault(name, []).append(seconds)
    return {name: seconds for name, seconds in found.items() if seconds}
