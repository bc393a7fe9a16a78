"""Workers without weights, for tests and for deployments that test everything except the models.

They implement the protocols of `motet.core.workers` and return equal bytes for equal inputs. Tests can inject faults:
delays, errors, hangs, broken runs and endless output.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from math import prod
from typing import TYPE_CHECKING, Literal

from motet.core.errors import MediaError, MotetError, Reason, RequestError
from motet.core.events import TEXT
from motet.core.media import Media, sha256_of
from motet.core.request import check_job, check_prompt
from motet.core.signals import Grammar, Run, RunBroken, RunComplete, RunStarted, SignalParser, TextToken
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, stage
from motet.core.tensors import Tensor, check_finite
from motet.core.workers import Finished, Progress, Signal, SignalBroken, SignalStarted, SignalSuppressed, TextPiece
from motet.toys.running import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motet.core.deadline import Deadline
    from motet.core.signals import SignalEvent
    from motet.core.workers import DecodeJob, LanguageEvent, Prompt

FIRST_SIGNAL = 0x110000
"""Id of the first signal token. A toy's text tokens are code points; its signal tokens are this id and higher ids."""

HISTORY = 256
"""Maximum number of inputs that a toy keeps in `seen`."""

_TICK = 0.001
"""Margin after a deadline, in seconds: an event loop may wake one clock tick early."""

UNREADABLE = b"unreadable"
"""Prefix of unreadable media. The toy encoder raises `MediaError` for media with this prefix."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of some seconds that respects the deadline. None seconds is a hang that ignores the deadline."""

    seconds: float | None = None

    async def wait(self, deadline: Deadline, doing: str) -> None:
        """Wait for the pause to end. Raise `DeadlineError` at the deadline. Only a cancellation ends a hang."""
        if self.seconds is None:
            await asyncio.Event().wait()
        elif (left := deadline.remaining()) is not None and left < self.seconds:
            await asyncio.sleep(left + _TICK)
        else:
            await asyncio.sleep(self.seconds)
        deadline.check(doing)


Token = int | Pause | MotetError
"""An entry of a script: a token id, a pause, or an error to raise."""

Script = Callable[["Prompt"], Iterable[Token]]
"""A function from a prompt to the tokens of the response."""


def grammar_of(*modalities: str, length: int = 4) -> Grammar:
    """Return a grammar with one run of `length` tokens per modality, from `FIRST_SIGNAL`."""
    return Grammar.from_lengths(FIRST_SIGNAL, dict.fromkeys(modalities, length))


def tensor_of(seed: bytes, shape: tuple[int, ...]) -> Tensor:
    """Return a float32 tensor of pseudo-random elements in [0, 1) that depend only on `seed` and `shape`."""
    random = shake_256(seed).digest(2 * prod(shape))
    return Tensor("float32", shape, b"".join(struct.pack("<f", n / 65536) for (n,) in struct.iter_unpack("<H", random)))


class ToyEncoder:
    """An `Encoder` whose embeddings depend only on the bytes. It refuses media that start with `UNREADABLE`."""

    def __init__(self, width: int = 16, delay: float = 0.0) -> None:
        self.seen: deque[tuple[Media, ...]] = deque(maxlen=HISTORY)
        self.callers: deque[tuple[str, int]] = deque(maxlen=HISTORY)
        """Tenant and priority of each call in `seen`."""
        self._width = width
        self._pause = Pause(delay)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Return one float32 embedding of shape (width,) per item, after `delay` seconds in total."""
        self.seen.append(tuple(media))
        self.callers.append((tenant, priority))
        with stage(ServiceKind.ENCODER, Stage.FORWARD, OTHER):
            await self._pause.wait(deadline, "encoding")
        for index, item in enumerate(media):
            if not item.data or item.data.startswith(UNREADABLE):
                raise MediaError(f"item {index} of the media cannot be read", metadata={"index": str(index)})
        embeddings = []
        for item in media:
            embeddings.append(tensor_of(item.data, (self._width,)))
            await asyncio.sleep(0)  # other calls run between large items
        return embeddings


class ToyLanguageModel:
    """A `LanguageModel` that outputs a script of token ids.

    Text tokens are code points; the signal runs are the runs of `grammar`. A script may exceed the prompt's ceilings,
    like a faulty model. Without a script the toy repeats the user's text and requests one media part of each allowed
    modality, except those in `named`, which the text must name. The response ends after `max_tokens` tokens, even with
    an endless script. A longer run is suppressed. `delay` is in seconds per token, `running` counts running calls.
    """

    def __init__(
        self,
        grammar: Grammar,
        script: Script | Sequence[Token] | None = None,
        *,
        delay: float = 0.0,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        named: Collection[str] = (),
    ) -> None:
        self.seen: deque[Prompt] = deque(maxlen=HISTORY)
        self.running = 0
        self._grammar = grammar
        self._script: Script = self._echo if script is None else script if callable(script) else lambda _: script
        self._pause = Pause(delay)
        self._shapes = dict(shapes or {})
        self._named = named

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield the events of the script, then exactly one `Finished`."""
        _check_prompt(prompt)
        self.seen.append(prompt)
        parser = SignalParser(self._grammar)
        count = 0
        reason: Literal["stop", "length"] = "stop"
        with running(self, ServiceKind.LANGUAGE_MODEL, TEXT, Stage.PREFILL) as stages:
            for token in self._script(prompt):
                if isinstance(token, MotetError):
                    raise token
                if isinstance(token, Pause):
                    await token.wait(deadline, "writing")
                    continue
                run = self._run_from(token)
                if count + (run.length if run else 1) > prompt.max_tokens:
                    reason = "length"
                    break
                await self._pause.wait(deadline, "writing")
                stages.enter(Stage.DECODE_STEP)
                count += 1
                for event in parser.feed(token):
                    yield self._to_language_event(event, prompt, count)
            for event in parser.close():
                yield self._to_language_event(event, prompt, count)
            if reason == "length" and run:
                yield SignalSuppressed(run.modality, "length")
            size = sum(len(part) if isinstance(part, str) else 1 for turn in prompt.turns for part in turn.parts)
            yield Finished(reason, size, count)

    def _run_from(self, token: int) -> Run | None:
        """Return the run that starts with a token, or None."""
        run = self._grammar.run_containing(token) if token >= FIRST_SIGNAL else None
        return run if run and token == run.first else None

    def _to_language_event(self, event: SignalEvent, prompt: Prompt, count: int) -> LanguageEvent:
        match event:
            case TextToken(token):
                # UTF-8 cannot encode surrogates.
                return TextPiece("\ufffd" if 0xD800 <= token < 0xE000 or token >= FIRST_SIGNAL else chr(token))
            case RunStarted(modality):
                return SignalStarted(modality)
            case RunComplete(modality):
                seed = repr((prompt.turns, prompt.seed, modality, count)).encode()
                return Signal(modality, tensor_of(seed, self._shapes.get(modality, (4,))))
            case RunBroken(run):
                return SignalBroken(run.modality, event.message)

    def _echo(self, prompt: Prompt) -> Iterator[Token]:
        text = " ".join(part for part in prompt.turns[-1].parts if isinstance(part, str))
        yield from map(ord, f"You said: {text}.")
        for run in self._grammar.runs:
            wanted = run.modality in text or run.modality not in self._named
            if wanted and prompt.ceilings.get(run.modality, 0) > 0:
                yield from map(ord, f" Here is one {run.modality}:")
                yield from run.ids


def _check_prompt(prompt: Prompt) -> None:
    check_prompt(prompt)
    for part in (part for turn in prompt.turns for part in turn.parts if not isinstance(part, str)):
        check_finite(part.tensor, "an embedding")


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """An injected fault of a toy decoder after `after` steps: an error to raise, or a pause.

    The fault occurs in the first `times` jobs. None means every job.
    """

    what: MotetError | Pause
    after: int = 0
    times: int | None = None

    async def inject(self, deadline: Deadline) -> None:
        """Raise the error, or wait for the pause."""
        if isinstance(self.what, MotetError):
            raise self.what
        await self.what.wait(deadline, "a fault was injected")


class ToyDecoder:
    """A `Decoder` whose media, `size` bytes long, depend only on conditioning, seed, steps, guidance and inputs.

    `modality` "" accepts all modalities. `delay` is in seconds per step. `shape` is the only valid shape of the
    conditioning, of floats; None accepts any shape and dtype. `running` is the number of running jobs. If a job has
    `min_steps`, the decoder reduces the steps to the number that fits before the deadline. The media equal those of a
    job with that number of steps. `pause`, which takes `delay` seconds, and `fault` may be set at any time.
    """

    def __init__(
        self,
        modality: str = "",
        *,
        media_type: str = "application/octet-stream",
        steps: int = 2,
        delay: float = 0.0,
        size: int = 64,
        shape: tuple[int, ...] | None = None,
        fault: InjectedFault | None = None,
    ) -> None:
        self.seen: deque[DecodeJob] = deque(maxlen=HISTORY)
        self.running = 0
        self._modality = modality
        self._media_type = media_type
        self._steps = steps
        self.pause = Pause(delay)
        self._size = size
        self._shape = shape
        self.fault = fault
        self._fault_count = 0

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield one `Progress` per step, then exactly one `Media`."""
        self._check(job)
        self.seen.append(job)
        fault, total = self._next_fault(), self._steps_of(job, deadline)
        inputs = tuple([(media.media_type, await sha256_of(media)) for media in job.inputs])
        seed = repr((job.modality, job.conditioning, job.seed, total, job.guidance, inputs)).encode()
        with running(self, ServiceKind.DECODER, self._modality or OTHER, Stage.DENOISE):
            for step in range(total + 1):
                if fault and fault.after == step:
                    await fault.inject(deadline)
                if step < total:
                    await self.pause.wait(deadline, f"making {job.modality}")
                    yield Progress(step + 1, total, self._preview(job, step))
            yield Media(self._media_type, shake_256(seed).digest(self._size))

    def _check(self, job: DecodeJob) -> None:
        check_job(job)
        if self._modality not in ("", job.modality):
            raise RequestError(
                f"this decoder makes {self._modality}, not {job.modality}", Reason.MODALITY_NOT_SUPPORTED
            )
        shape, dtype = job.conditioning.shape, job.conditioning.dtype
        if self._shape is not None and (shape != self._shape or dtype not in ("float32", "float16")):
            raise RequestError(
                f"conditioning for {self._modality or job.modality} must be float32 of shape {self._shape}, "
                f"not {dtype} of shape {shape}",
                Reason.CONDITIONING_INVALID,
            )
        check_finite(job.conditioning, "the conditioning")

    def _steps_of(self, job: DecodeJob, deadline: Deadline) -> int:
        steps, left = job.steps or self._steps, deadline.remaining()
        if job.min_steps is None or left is None or left >= steps * (self.pause.seconds or 0):
            return steps
        return min(steps, max(job.min_steps, int(left / (self.pause.seconds or 1))))

    def _next_fault(self) -> InjectedFault | None:
        if self.fault is None or self._fault_count == self.fault.times:
            return None
        self._fault_count += 1
        return self.fault

    def _preview(self, job: DecodeJob, step: int) -> Media | None:
        return Media(self._media_type, b"preview %d" % (step + 1)) if job.previews else None
