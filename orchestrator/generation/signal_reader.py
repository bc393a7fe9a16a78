"""The score: what the language model writes, read as text to tell and as media to make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from motet.core.errors import FaultError, MotetError, Reason, RequestError
from motet.core.plan import MediaJob
from motet.core.workers import Finished, LanguageEvent, Signal, SignalBroken, SignalStarted, TextPiece
from orchestrator.generation.event_writer import EventWriter, OpenPart
from orchestrator.settings import OrchestratorSettings

Fail = Callable[[str, MotetError], None]
"""Told of each part that fails; what it raises ends the reading."""

Expect = Callable[[str, str], None]
"""Told of each part whose signal has begun and may be followed, and of its modality."""


class SignalReader:
    """Reads a language model's events one at a time.

    It believes nothing: a part is opened for every signal, but a step comes only of what `ceilings` allow, whatever the
    model was told. `media_types` says what each modality that can be made comes as.
    """

    def __init__(
        self,
        answer: EventWriter,
        fail: Fail,
        expect: Expect,
        ceilings: Mapping[str, int],
        media_types: Mapping[str, str],
        settings: OrchestratorSettings,
    ) -> None:
        self._answer = answer
        self._fail = fail
        self._expect = expect
        self._ceilings = ceilings
        self._media_types = media_types
        self._settings = settings
        self._asked: Counter[str] = Counter()
        self._refusals = 0
        self._run: tuple[str, OpenPart | None] | None = None
        self.finished = False
        """Whether the model said that it has stopped."""

    def read(self, event: LanguageEvent) -> MediaJob | None:
        """Tell what an event says; a whole signal that may be followed is the next step.

        Raises `RequestError` where a model goes on without end: it must be stopped.
        """
        match event:
            case TextPiece(text):
                self._break_off()
                self._answer.write(text)
                if self._answer.written > self._settings.max_text:
                    raise _endless("text")
            case SignalStarted(modality):
                self._break_off()
                part = self._begin(modality)
                self._run = (modality, part)
                if part is not None:
                    self._expect(part.id, modality)
            case Signal(modality, conditioning):
                if part := self._take(modality):
                    return MediaJob(part.id, modality, conditioning, part.anchor, part.caption)
            case SignalBroken(modality, message):
                if part := self._take(modality):
                    self._refuse(part, _broken(modality, message))
            case Finished():
                self._break_off()
                self._answer.end_text()
                self._answer.spend(event.input_tokens, event.output_tokens)
                self.finished = True
        return None

    def cut(self, error: MotetError) -> None:
        """The model will write no more, because of `error`."""
        if self._run and (part := self._run[1]):
            self._answer.fail(part.id, error)
        self._run = None
        self._answer.end_text()

    def _take(self, modality: str) -> OpenPart | None:
        """The part of the run that ends here, None if it was refused. A run that was not announced begins here."""
        if self._run is None or self._run[0] != modality:
            self._break_off()
            return self._begin(modality)
        part, self._run = self._run[1], None
        return part

    def _break_off(self) -> None:
        """A run that is open does not go on."""
        run, self._run = self._run, None
        if run and run[1]:
            self._refuse(run[1], _broken(run[0], f"the model did not finish the tokens that ask for {run[0]}"))

    def _begin(self, modality: str) -> OpenPart | None:
        part = self._answer.ask(modality, self._media_types.get(modality, ""))
        self._asked[modality] += 1
        if error := self._forbidden(modality):
            self._refuse(part, error)
            return None
        return part

    def _forbidden(self, modality: str) -> MotetError | None:
        ceiling, total = self._ceilings.get(modality), self._settings.max_parts
        told = {"modality": modality}
        if modality not in self._media_types:
            known = ", ".join(self._media_types)
            return RequestError(
                f"nothing here makes {modality}, only {known}",
                Reason.MODALITY_NOT_SUPPORTED,
                told | {"supported": known},
            )
        if ceiling is None:
            return RequestError(f"the request does not allow {modality}", Reason.MODALITY_NOT_ALLOWED, told)
        if self._asked[modality] > ceiling or self._asked.total() > total:
            limit = str(min(ceiling, total))
            return RequestError(
                f"an answer may hold {limit} parts of {modality}, of {total} media parts in all",
                Reason.LIMIT_EXCEEDED,
                told | {"limit": limit},
            )
        return None

    def _refuse(self, part: OpenPart, error: MotetError) -> None:
        self._refusals += 1
        self._fail(part.id, error)
        if self._refusals > self._settings.max_refusals:
            raise _endless("signals that lead to nothing")


def _broken(modality: str, message: str) -> MotetError:
    return FaultError(message, Reason.SIGNAL_BROKEN, {"modality": modality})


def _endless(what: str) -> MotetError:
    return RequestError(f"the model wrote {what} without end and was stopped", Reason.LIMIT_EXCEEDED)
