"""The parent's side of the confined child: start it, send it the bytes, check its output, and kill it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.core.concurrent.processes import kill_process
from motet.core.errors import MediaError, Reason
from motet.core.media import CHUNK_BYTES
from motet.core.preprocessing import AS_SHOWN, Preprocessing
from motet.core.telemetry.families import media_metrics
from motet.media import kinds
from motet.media.child_command import ENVIRONMENT, child_command
from motet.media.child_slots import SMALL, ChildSlots
from motet.media.limits import MediaLimits
from motet.media.reading import Output

Facts = Mapping[str, float]
"""The numbers that describe decoded media: those of width, height, frames, samples, channels and rate that apply.

`kept` is the number of frames in the elements.
"""

Elements = NDArray[np.uint8]
"""The bytes of all elements."""

logger = logging.getLogger(__name__)

# The error codes that a child may return, each with its reason and message.
_ERRORS: Mapping[str, tuple[Reason, str]] = {
    "unreadable": (Reason.MEDIA_UNREADABLE, "cannot be decoded: it is damaged, or its first bytes claim a wrong type"),
    "truncated": (Reason.MEDIA_UNREADABLE, "is truncated: send the complete file"),
    "empty": (Reason.MEDIA_UNREADABLE, "contains no picture, sound or clip"),
    "forbidden": (
        Reason.MEDIA_UNREADABLE,
        "cannot be decoded: its decoder made a forbidden system call, as hostile bytes can cause; "
        "convert the file to another type",
    ),
    "resources": (Reason.MEDIA_LIMIT_EXCEEDED, "takes too much time or memory to decode: send a smaller one"),
    "work": (
        Reason.MEDIA_LIMIT_EXCEEDED,
        "takes about {value:.0f} s to decode; at most {limits.work_seconds:.0f} s are allowed: send a smaller one",
    ),
    "pixels": (Reason.MEDIA_LIMIT_EXCEEDED, "has {value:.0f} pixels; at most {limits.pixels} are allowed"),
    "aspect": (
        Reason.MEDIA_LIMIT_EXCEEDED,
        "has an aspect ratio of {value:.0f}; at most {limits.aspect} is allowed",
    ),
    "seconds": (Reason.MEDIA_LIMIT_EXCEEDED, "lasts {value:.0f} s; at most {limits.seconds:.0f} s are allowed"),
    "frames": (Reason.MEDIA_LIMIT_EXCEEDED, "has {value:.0f} or more frames; at most {limits.frames} are allowed"),
    "channels": (Reason.MEDIA_LIMIT_EXCEEDED, "has {value:.0f} channels; 1 to {limits.channels} are allowed"),
    "rate": (
        Reason.MEDIA_LIMIT_EXCEEDED,
        "has a sample rate of {value:.0f} Hz; {limits.min_sample_rate} to {limits.max_sample_rate} Hz are allowed",
    ),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """An order for a child: the claimed type, the limits, the choices and the output. `tenant` is only for fairness."""

    media_type: str
    limits: MediaLimits
    output: Output
    preprocessing: Preprocessing = AS_SHOWN
    tenant: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of the child."""
        details = (json.dumps(dataclasses.asdict(values)) for values in (self.limits, self.preprocessing))
        return (self.media_type, *details, self.output)


async def read(data: bytes, order: Order) -> tuple[Facts, Elements]:
    """Decode bytes in a child process. Return the facts, and the raw elements or no bytes.

    The first child ends early if the file's header predicts much work. The second one then waits for a slot for large
    media. A cancellation or a timeout kills the child. Raises `MediaError` for bytes that cannot be decoded or exceed a
    limit.
    """
    slots, limits = ChildSlots.of_this_loop(), order.limits
    if limits.work_seconds > SMALL:
        small = dataclasses.replace(order, limits=dataclasses.replace(limits, work_seconds=SMALL))
        try:
            async with slots.small(order.tenant):
                return await _read(data, small)
        except MediaError as error:
            if error.metadata["cause"] != "work":
                raise
    async with slots.large(order.tenant):
        return await _read(data, order)


async def _read(data: bytes, order: Order) -> tuple[Facts, Elements]:
    try:
        async with asyncio.timeout(order.limits.wall_seconds), _child(order) as child:
            sending = asyncio.create_task(_send(child, data))
            try:
                return await _receive(child, order)
            finally:
                sending.cancel()
    except TimeoutError:
        raise _error("resources", 0, order) from None


@contextlib.asynccontextmanager
async def _child(order: Order) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        *child_command("main", *order.arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=CHUNK_BYTES,
        close_fds=True,
        env=ENVIRONMENT,
        cwd="/",
    )
    try:
        yield child
    finally:
        await kill_process(child)


async def _send(child: asyncio.subprocess.Process, data: bytes) -> None:
    assert child.stdin is not None
    # A child that finds an error early does not read to the end.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(data)
        await child.stdin.drain()
        child.stdin.close()


async def _receive(child: asyncio.subprocess.Process, order: Order) -> tuple[Facts, Elements]:
    assert child.stdout is not None
    try:
        facts = _checked(json.loads(await child.stdout.readline()), order)
        size = 0 if order.output == "facts" else _size(facts, kinds.MODALITIES[order.media_type])
        elements = np.empty(size, np.uint8)  # A bytearray would be filled with zeros at once.
        await _fill(elements, child.stdout)
        if await child.stdout.read(1) or await child.wait() != 0:
            raise _failure("unreadable", await child.wait(), order)
    except (asyncio.IncompleteReadError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # The kernel killed the child for its memory, its time or a system call, or hostile bytes control it.
        code = await child.wait()
        raise _failure("resources" if code else "unreadable", code, order) from None
    return facts, elements


def _failure(code: str, exit_code: int, order: Order) -> MediaError:
    """Return the error of a child that did not output what its facts promise."""
    if exit_code != -signal.SIGSYS:
        return _error(code, 0, order)
    media_metrics.MEDIA_FORBIDDEN_CALLS.inc()
    logger.warning("a decoding child was killed for a forbidden system call", extra={"media_type": order.media_type})
    return _error("forbidden", 0, order)


async def _fill(elements: Elements, stream: asyncio.StreamReader) -> None:
    """Fill the buffer piece by piece, because one large copy would stop the event loop."""
    position = 0
    while position < len(elements):
        piece = await stream.read(min(CHUNK_BYTES, len(elements) - position))
        if not piece:
            raise asyncio.IncompleteReadError(b"", len(elements))
        elements[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
        position += len(piece)


def _checked(line: Any, order: Order) -> Facts:
    """Return the child's facts. Raise `ValueError` unless they are numbers within the limits."""
    limits, modality = order.limits, kinds.MODALITIES[order.media_type]
    if "error" in line:
        raise _error(line["error"], float(line["value"]), order)
    facts = {name: float(value) for name, value in line.items()}
    pixels = facts.get("width", 1) * facts.get("height", 1)
    within_limits = {
        "image": lambda: 0 < pixels <= limits.pixels,
        "audio": lambda: (
            0 < facts["samples"] <= limits.seconds * facts["rate"] <= limits.seconds * limits.max_sample_rate
            and 0 < facts["channels"] <= limits.channels
        ),
        "video": lambda: (
            0 < pixels * facts["kept"] <= limits.clip_pixels
            and facts["kept"] <= facts["frames"] <= limits.frames
            and 0 < facts["rate"] <= 1000
        ),
    }
    if not within_limits[modality]():
        raise ValueError("the child's numbers exceed its limits")
    return facts


def _size(facts: Facts, modality: str) -> int:
    if modality == "audio":
        return int(facts["samples"]) * 4
    return int(facts["width"]) * int(facts["height"]) * int(facts.get("kept", 1)) * 3


def _error(code: str, value: float, order: Order) -> MediaError:
    reason, template = _ERRORS[code]
    message = f"the attached {order.media_type} {template.format(value=value, limits=order.limits)}"
    return MediaError(message, reason, {"media_type": order.media_type, "cause": code})
