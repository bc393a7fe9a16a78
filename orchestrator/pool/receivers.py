"""Receivers of workers' items: they check the items, count the progress and continue an answer after a failure."""

from __future__ import annotations

from collections import deque

from motet.core.errors import FaultError, MotetError, Reason, RequestError, RetryableError
from motet.core.media import MAX_MEDIA_BYTES, Media
from motet.core.tensors import Tensor, check_finite
from motet.core.workers import (
    Finished,
    LanguageEvent,
    Progress,
    Signal,
    SignalBroken,
    SignalStarted,
    SignalSuppressed,
    TextPiece,
)
from orchestrator.pool.queued_call import QueuedCall

_MAX_STEPS = 10_000
"""Maximum denoising steps of a job. A request may have 1,000, and some schedulers add more."""

_MAX_EVENTS_PER_TOKEN = 4
"""Maximum events of a language model per token of its limit: text before a run, the run's start, its signal, and one
more, because the last text, a broken run and `Finished` follow the last token."""

_MAX_NAME_LENGTH, _MAX_MESSAGE_LENGTH = 64, 1000
"""Maximum length of a modality's name and of a message in a signal, in code points."""


class EncodeReceiver:
    """The receiver of an encoder's only item, the embeddings. A value that is not finite is a fault of the encoder."""

    def __init__(self) -> None:
        self.complete = False

    def restart(self) -> None:
        """Implement `Receiver.restart`."""

    def receive(self, item: list[Tensor]) -> list[Tensor]:
        """Implement `Receiver.receive`."""
        try:
            for embedding in item:
                check_finite(embedding, "an embedding")
        except RequestError as error:
            raise FaultError(f"the encoder failed: {error.message}") from error
        self.complete = True
        return item


class DecodeReceiver:
    """The receiver of a decoder's progress and media. The call's progress starts again with each attempt."""

    def __init__(self, call: QueuedCall, modality: str) -> None:
        self.complete = False
        self._call = call
        self._modality = modality
        self._step = self._preview_bytes = 0

    def restart(self) -> None:
        """Implement `Receiver.restart`."""
        self._step = self._preview_bytes = 0

    def receive(self, item: Progress | Media) -> Progress | Media:
        """Implement `Receiver.receive`."""
        if isinstance(item, Media):
            self.complete = True
            return item
        # A chained comparison is also false for NaN.
        if not self._step < item.step <= item.total <= _MAX_STEPS:
            raise FaultError(
                f"the decoder of {self._modality} reported step {item.step} of {item.total} after step {self._step}"
            )
        if item.preview is not None:
            self._preview_bytes += len(item.preview.data)
            if self._preview_bytes > MAX_MEDIA_BYTES:
                raise FaultError(f"the previews of {self._modality} take more than {MAX_MEDIA_BYTES} bytes")
        self._step = item.step
        self._call.units, self._call.done = item.total, item.step
        return item


class LanguageReceiver:
    """The receiver of a language model's events.

    The same prompt and seed give the same events, so another attempt repeats the events of the first one. The receiver
    compares them, and passes on what follows. The borders of text pieces may differ. `max_tokens` is the prompt's.
    """

    def __init__(self, max_tokens: int) -> None:
        self.complete = False
        self._max_events = _MAX_EVENTS_PER_TOKEN * (max_tokens + 1)
        self._count = 0
        self._passed: list[str | LanguageEvent] = []
        """The events that the caller has, and the text of text pieces."""
        self._expected: deque[str | LanguageEvent] = deque()
        """The events that the current attempt still has to repeat."""

    def restart(self) -> None:
        """Implement `Receiver.restart`."""
        self._count = 0
        self._expected = deque(self._passed)

    def receive(self, item: LanguageEvent) -> LanguageEvent | None:
        """Implement `Receiver.receive`."""
        self._count += 1
        if self._count > self._max_events:
            raise FaultError(f"the language model sent more than {self._max_events} events")
        if isinstance(item, TextPiece):
            text = self._new_text(item.text) if self._expected else item.text
            if not text:
                return None
            self._passed.append(text)
            return item if text is item.text else TextPiece(text)
        if isinstance(item, Finished):
            _check_counts(item)
        else:
            _check_names(item)
        if self._expected:
            if self._expected.popleft() != item:
                raise _other_answer()
            return None
        self._passed.append(item)
        self.complete = isinstance(item, Finished)
        return item

    def _new_text(self, text: str) -> str:
        """Return the text after the expected text."""
        while text and self._expected:
            expected = self._expected.popleft()
            if not isinstance(expected, str):
                raise _other_answer()
            size = min(len(expected), len(text))
            if expected[:size] != text[:size]:
                raise _other_answer()
            if size < len(expected):
                self._expected.appendleft(expected[size:])
            text = text[size:]
        return text


def _check_counts(event: Finished) -> None:
    counts = event.input_tokens, event.output_tokens, event.omitted_turns
    if not all(count >= 0 for count in counts):  # also true for NaN
        raise FaultError(
            "the language model counted {} input tokens, {} output tokens and {} omitted turns".format(*counts)
        )


def _check_names(event: SignalStarted | Signal | SignalBroken | SignalSuppressed) -> None:
    message = event.message if isinstance(event, SignalBroken) else ""
    if len(event.modality) > _MAX_NAME_LENGTH or len(message) > _MAX_MESSAGE_LENGTH:
        raise FaultError("the language model sent a signal with a name or a message that is too long")


def _other_answer() -> MotetError:
    return RetryableError(
        "the language model was lost, and another one wrote another answer; try again", Reason.WORKER_LOST
    )
