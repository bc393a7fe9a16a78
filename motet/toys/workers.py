"""Workers without weights, for tests and for deployments that try out everything but the models.

They keep the promises of `motet.core.workers`, answer equal questions with equal bytes, and misbehave on request:
slowly, by raising, by hanging, by dying midway, by writing broken or endless runs.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import shake_256
from math import prod
from typing import TYPE_CHECKING

from motet.core.errors import MediaError, MotetError, Reason, RequestError
from motet.core.media import Media
from motet.core.signals import Grammar, RunBroken, RunComplete, RunStarted, SignalParser, TextToken
from motet.core.tensors import Tensor
from motet.core.workers import Finished, Progress, Signal, SignalBroken, SignalStarted, TextPiece

if TYPE_CHECKING:
    from collections.abc import Iterator

    from motet.core.deadline import Deadline
    from motet.core.signals import SignalEvent
    from motet.core.workers import DecodeJob, LanguageEvent, Prompt

FIRST_SIGNAL = 0x110000
"""A toy's text tokens are code points; its signal tokens are the ids past the last code point."""

REMEMBERED = 256
"""How many of the last questions a toy keeps for whoever wants to look."""

_TICK = 0.001
"""Seconds added to a wait for a deadline: a loop may wake a clock tick early."""

UNREADABLE = b"unreadable"
"""Media that begin with this are refused by the toy encoder, as broken media are by a real one."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for some seconds, obeying the deadline. Without seconds: hang, whatever the deadline says."""

    seconds: float | None = None

    async def passes(self, deadline: Deadline, doing: str) -> None:
        """Wait. Raises `DeadlineError` at the deadline; a hang ends by cancellation alone."""
        if self.seconds is None:
            await asyncio.Event().wait()
        elif (left := deadline.remaining()) is not None and left < self.seconds:
            await asyncio.sleep(left + _TICK)
        else:
            await asyncio.sleep(self.seconds)
        deadline.check(doing)


Token = int | Pause | MotetError
"""What a script holds: a token id, a pause, or an error that is raised when its turn comes."""

Script = Callable[["Prompt"], Iterable[Token]]


def grammar_of(*modalities: str, length: int = 4) -> Grammar:
    """A grammar whose runs take `length` tokens each and stand past the last code point."""
    return Grammar.following(FIRST_SIGNAL, dict.fromkeys(modalities, length))


def tensor_of(seed: bytes, shape: tuple[int, ...]) -> Tensor:
    """A float32 tensor with elements in [0, 1) that follow from `seed`."""
    drawn = shake_256(seed).digest(2 * prod(shape))
    return Tensor("float32", shape, b"".join(struct.pack("<f", n / 65536) for (n,) in struct.iter_unpack("<H", drawn)))


class ToyEncoder:
    """An `Encoder` whose embeddings follow from the bytes. It cannot read media that begin with `UNREADABLE`."""

    def __init__(self, width: int = 16, delay: float = 0.0) -> None:
        self.seen: deque[tuple[Media, ...]] = deque(maxlen=REMEMBERED)
        self.whose: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)
        """Tenant and priority of each of these."""
        self._width = width
        self._pause = Pause(delay)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """One float32 embedding of shape (width,) per item; takes `delay` seconds in all."""
        self.seen.append(tuple(media))
        self.whose.append((tenant, priority))
        await self._pause.passes(deadline, "encoding")
        for index, item in enumerate(media):
            if not item.data or item.data.startswith(UNREADABLE):
                raise MediaError(f"item {index} of the media cannot be read", metadata={"index": str(index)})
        return [tensor_of(item.data, (self._width,)) for item in media]


class ToyLanguageModel:
    """A `LanguageModel` that writes a script of token ids, read by the same parser as a real model's.

    Text tokens are code points; runs are those of `grammar`. A scripted toy ignores ceilings, as a real model under
    attack might; without a script it repeats what the user said and asks for one piece of each modality it may.
    It stops after `max_tokens` tokens, endless script or not. `delay` is in seconds a token.
    """

    def __init__(
        self,
        grammar: Grammar,
        script: Script | Sequence[Token] | None = None,
        *,
        delay: float = 0.0,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.seen: deque[Prompt] = deque(maxlen=REMEMBERED)
        self.running = 0
        self._grammar = grammar
        self._script: Script = self._echo if script is None else script if callable(script) else lambda _: script
        self._pause = Pause(delay)
        self._shapes = dict(shapes or {})

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Any number of pieces and signals, then exactly one `Finished`."""
        self.seen.append(prompt)
        parser = SignalParser(self._grammar)
        written = 0
        with _counted(self):
            for token in self._script(prompt):
                if isinstance(token, MotetError):
                    raise token
                if isinstance(token, Pause):
                    await token.passes(deadline, "writing")
                    continue
                if written == prompt.max_tokens:
                    break
                await self._pause.passes(deadline, "writing")
                written += 1
                for event in parser.feed(token):
                    yield self._told(event, prompt, written)
            for event in parser.close():
                yield self._told(event, prompt, written)
            yield Finished("length" if written == prompt.max_tokens else "stop", _size_of(prompt), written)

    def _told(self, event: SignalEvent, prompt: Prompt, written: int) -> LanguageEvent:
        match event:
            case TextToken(token):
                # A surrogate is no character and cannot be sent as UTF-8.
                return TextPiece("\ufffd" if 0xD800 <= token < 0xE000 or token >= FIRST_SIGNAL else chr(token))
            case RunStarted(modality):
                return SignalStarted(modality)
            case RunComplete(modality):
                seed = repr((prompt.turns, prompt.seed, modality, written)).encode()
                return Signal(modality, tensor_of(seed, self._shapes.get(modality, (4,))))
            case RunBroken(modality):
                return SignalBroken(modality, event.message)

    def _echo(self, prompt: Prompt) -> Iterator[Token]:
        said = " ".join(part for part in prompt.turns[-1].parts if isinstance(part, str))
        yield from map(ord, f"You said: {said}.")
        for run in self._grammar.runs:
            if prompt.ceilings.get(run.modality, 0) > 0:
                yield from map(ord, f" Here is one {run.modality}:")
                yield from run.ids


def _size_of(prompt: Prompt) -> int:
    return sum(len(part) if isinstance(part, str) else 1 for turn in prompt.turns for part in turn.parts)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in a toy decoder once `after` steps are done: `what` is raised, or waited for.

    It happens to the first `times` jobs; None is every job.
    """

    what: MotetError | Pause
    after: int = 0
    times: int | None = None


class ToyDecoder:
    """A `Decoder` whose media, `size` bytes long, follow from conditioning, seed, settings and inputs.

    It makes one modality, or any if that is "". `delay` is in seconds a step; `shape` is the only conditioning it
    takes, None for any. `running` counts the jobs that it works on now. A job that gives leave to gets no more steps
    than there is time for; its media are then those of a job that asked for so many.
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
        trouble: Trouble | None = None,
    ) -> None:
        self.seen: deque[DecodeJob] = deque(maxlen=REMEMBERED)
        self.running = 0
        self._modality = modality
        self._media_type = media_type
        self._steps = steps
        self._pause = Pause(delay)
        self._size = size
        self._shape = shape
        self._trouble = trouble
        self._troubled = 0

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """One `Progress` per step, then exactly one `Media`."""
        self.seen.append(job)
        self._check(job)
        trouble = self._trouble_now()
        total = self._total(job, deadline)
        seed = repr((job.modality, job.conditioning, job.seed, total, job.guidance, job.inputs)).encode()
        with _counted(self):
            for step in range(total + 1):
                if trouble and trouble.after == step:
                    await _strike(trouble, deadline)
                if step < total:
                    await self._pause.passes(deadline, f"making {job.modality}")
                    yield Progress(step + 1, total, self._preview(job, step))
            yield Media(self._media_type, shake_256(seed).digest(self._size))

    def _check(self, job: DecodeJob) -> None:
        if self._modality not in ("", job.modality):
            raise RequestError(
                f"this decoder makes {self._modality}, not {job.modality}", Reason.MODALITY_NOT_SUPPORTED
            )
        if self._shape not in (None, job.conditioning.shape):
            raise RequestError(
                f"conditioning for {self._modality or job.modality} must have shape {self._shape}, "
                f"not {job.conditioning.shape}",
                Reason.CONDITIONING_INVALID,
            )

    def _total(self, job: DecodeJob, deadline: Deadline) -> int:
        wanted, left = job.steps or self._steps, deadline.remaining()
        if job.min_steps is None or left is None or left >= wanted * (self._pause.seconds or 0):
            return wanted
        return min(wanted, max(job.min_steps, int(left / (self._pause.seconds or 1))))

    def _trouble_now(self) -> Trouble | None:
        if self._trouble is None or self._troubled == self._trouble.times:
            return None
        self._troubled += 1
        return self._trouble

    def _preview(self, job: DecodeJob, step: int) -> Media | None:
        return Media(self._media_type, b"preview %d" % (step + 1)) if job.previews else None


async def _strike(trouble: Trouble, deadline: Deadline) -> None:
    if isinstance(trouble.what, Pause):
        await trouble.what.passes(deadline, "being in trouble")
    else:
        raise trouble.what


@contextmanager
def _counted(toy: ToyLanguageModel | ToyDecoder) -> Iterator[None]:
    toy.running += 1
    try:
        yield
    finally:
        toy.running -= 1
