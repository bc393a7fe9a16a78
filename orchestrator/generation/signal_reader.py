"""Interpretation of the language model's events: text, media jobs, and signals that are refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from motet.core.errors import FaultError, MotetError, Reason, RequestError
from motet.core.media import Media
from motet.core.plan import MediaJob
from motet.core.workers import (
    Finished,
    LanguageEvent,
    Signal,
    SignalBroken,
    SignalStarted,
    SignalSuppressed,
    TextPiece,
)
from orchestrator.generation.event_writer import EventWriter, OpenPart
from orchestrator.generation.part_inputs import ConversationMedium, InputResolver, PartInput
from orchestrator.settings import OrchestratorSettings

_MORE_TOKENS = "raise max_output_tokens, or shorten the conversation"


@dataclass(frozen=True, slots=True)
class JobExpected:
    """The first token of a signal was received. If the run completes, a `MediaJob` with this part id follows."""

    part_id: str
    modality: str


@dataclass(frozen=True, slots=True)
class PartRefused:
    """A part was opened for a signal, but no media job follows, because of `error`."""

    part_id: str
    error: MotetError


Outcome = JobExpected | MediaJob | PartRefused | ConversationMedium
"""A `ConversationMedium` is an input of the next part: store it as an artifact before taking the next outcome."""


@dataclass(frozen=True, slots=True)
class _OpenRun:
    """A run that has started. `part` is None if the part was refused."""

    modality: str
    part: OpenPart | None
    inputs: tuple[PartInput, ...] = ()


class SignalReader:
    """Reads a language model's events one at a time. It writes text and opens parts, and returns the rest as outcomes.

    The model's output is not trusted: every signal opens a part, but only signals within `ceilings` become media jobs.
    `media_types` maps each modality that has a decoder to the media type of its results. `inputs` resolves the inputs
    of a part when the first token of its signal is read: at that time, all earlier signals are complete or refused.
    """

    def __init__(
        self,
        writer: EventWriter,
        ceilings: Mapping[str, int],
        media_types: Mapping[str, str],
        inputs: InputResolver,
        settings: OrchestratorSettings,
    ) -> None:
        self._writer = writer
        self._ceilings = ceilings
        self._media_types = media_types
        self._inputs = inputs
        self._settings = settings
        self._signals: Counter[str] = Counter()
        self._refusals = 0
        self._run: _OpenRun | None = None
        self.finished = False
        """True once the model sent `Finished`."""

    def read(self, event: LanguageEvent) -> Iterator[Outcome]:
        """Process an event and yield its outcomes. Act on each outcome before taking the next.

        Raises `RequestError` if the model exceeds the limit of text or of refused signals, or if the answer was cut.
        Stop the model then.
        """
        match event:
            case TextPiece(text):
                yield from self._break_run()
                self._writer.write(text)
                if self._writer.full or self._writer.text_length > self._settings.max_text_length:
                    raise _endless("text")
            case SignalStarted(modality):
                yield from self._break_run()
                yield from self._start_run(modality)
                if self._run and self._run.part:
                    yield JobExpected(self._run.part.id, modality)
            case Signal(modality, conditioning):
                yield from self._continue_run(modality)
                run, self._run = self._run, None
                if run and (part := run.part):
                    self._inputs.add(part.id, modality)
                    yield MediaJob(part.id, modality, conditioning, part.anchor, part.caption, _job_inputs(run.inputs))
            case SignalBroken(modality, message):
                yield from self._continue_run(modality)
                if part := self._end_run():
                    yield from self._refuse(part, _broken(modality, message))
            case SignalSuppressed(modality, limit):
                yield from self._break_run()
                yield from self._suppress(modality, limit)
            case Finished(reason, input_tokens, output_tokens, omitted_turns):
                yield from self._break_run()
                self._writer.end_text()
                self._writer.set_usage(input_tokens, output_tokens, omitted_turns)
                self.finished = True
                if reason == "length":
                    raise _cut(output_tokens)

    def stop(self, error: MotetError) -> None:
        """Close the open parts after the model failed with `error`."""
        if part := self._end_run():
            self._writer.fail(part.id, error)
        self._writer.end_text()

    def _suppress(self, modality: str, limit: str) -> Iterator[PartRefused]:
        """Open a part for media that the model requested and suppressed, and refuse the part."""
        part = self._writer.start_media(modality, self._media_types.get(modality, ""))
        self._signals[modality] += 1
        yield from self._refuse(part, self._forbidden(modality) or _suppressed(modality, limit))

    def _start_run(self, modality: str) -> Iterator[PartRefused | ConversationMedium]:
        self._signals[modality] += 1
        error = self._forbidden(modality)
        inputs: tuple[PartInput, ...] = ()
        if error is None:
            try:
                inputs = self._inputs.resolve(modality)
            except RequestError as missing:
                error = missing
        yield from [each.source for each in inputs if isinstance(each.source, ConversationMedium)]
        part = self._writer.start_media(
            modality, self._media_types.get(modality, ""), tuple(each.planned for each in inputs)
        )
        self._run = _OpenRun(modality, None if error else part, inputs)
        if error:
            yield from self._refuse(part, error)

    def _continue_run(self, modality: str) -> Iterator[PartRefused | ConversationMedium]:
        """Ensure that the open run has this modality. A run whose start was not announced starts here."""
        if self._run is None or self._run.modality != modality:
            yield from self._break_run()
            yield from self._start_run(modality)

    def _break_run(self) -> Iterator[PartRefused]:
        """Refuse the part of an open run, because another event came before its end."""
        if self._run is None:
            return
        modality = self._run.modality
        if part := self._end_run():
            message = f"the model did not finish the tokens that request {modality}"
            yield from self._refuse(part, _broken(modality, message))

    def _end_run(self) -> OpenPart | None:
        """Close the open run and return its part, or None if there is no run or its part was refused."""
        run, self._run = self._run, None
        return run.part if run else None

    def _forbidden(self, modality: str) -> MotetError | None:
        """Return why a signal of this modality is refused, or None if it is allowed."""
        ceiling, total = self._ceilings.get(modality), self._settings.max_parts
        metadata = {"modality": modality}
        if modality not in self._media_types:
            supported = ", ".join(self._media_types)
            return RequestError(
                f"there is no decoder for {modality}, only for {supported}",
                Reason.MODALITY_NOT_SUPPORTED,
                metadata | {"supported": supported},
            )
        if ceiling is None:
            return RequestError(f"the request does not allow {modality}", Reason.MODALITY_NOT_ALLOWED, metadata)
        if self._signals[modality] > ceiling or self._signals.total() > total:
            limit = str(min(ceiling, total))
            return RequestError(
                f"an answer may hold {limit} parts of {modality}, and {total} media parts in all",
                Reason.LIMIT_EXCEEDED,
                metadata | {"limit": limit},
            )
        return None

    def _refuse(self, part: OpenPart, error: MotetError) -> Iterator[PartRefused]:
        self._refusals += 1
        yield PartRefused(part.id, error)
        if self._refusals > self._settings.max_refused_signals:
            raise _endless("signals that are refused")


def _job_inputs(inputs: tuple[PartInput, ...]) -> tuple[str | Media, ...]:
    """Return the inputs of a media job. The media of the conversation must be loaded before."""
    return tuple(each.source if isinstance(each.source, str) else each.source.media for each in inputs)


def _broken(modality: str, message: str) -> MotetError:
    return FaultError(message, Reason.SIGNAL_BROKEN, {"modality": modality})


def _suppressed(modality: str, limit: str) -> MotetError:
    if limit == "length":
        message = f"{modality} needs more tokens than the answer has left; {_MORE_TOKENS}"
        return RequestError(message, Reason.LIMIT_EXCEEDED, {"modality": modality, "field": "max_output_tokens"})
    message = f"the language model may not request more {modality}; request fewer parts"
    return RequestError(message, Reason.LIMIT_EXCEEDED, {"modality": modality})


def _cut(output_tokens: int) -> MotetError:
    return RequestError(
        f"the answer was cut after {output_tokens} tokens; {_MORE_TOKENS}",
        Reason.LIMIT_EXCEEDED,
        {"field": "max_output_tokens", "output_tokens": str(output_tokens)},
    )


def _endless(output: str) -> MotetError:
    return RequestError(f"the model wrote {output} without end and was stopped", Reason.LIMIT_EXCEEDED)
