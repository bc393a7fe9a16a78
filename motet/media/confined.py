"""The parent's side of the confined child: start it, send it the bytes, check its output, and kill it at the end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

from motet.core.errors import MediaError, Reason
from motet.media import kinds
from motet.media.limits import MediaLimits

Facts = Mapping[str, float]
"""The numbers that describe decoded media: those of width, height, frames, samples, channels and rate that apply."""

Output = Literal["elements", "facts"]
"""The output of a child: the facts and the elements, or the facts only."""

_START = "import sys; sys.path += {paths!r}; sys.argv = ['', *sys.argv[1:]]; from motet.media.child import main; main()"
# The child gets no variable of this process except the library path. One thread: NumPy would start several.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"} | {
    name: os.environ[name] for name in os.environ if name == "LD_LIBRARY_PATH"
}
_PACKAGES = str(Path(__file__).resolve().parents[2])

# The error codes that a child may return, each with its reason and message.
_ERRORS: Mapping[str, tuple[Reason, str]] = {
    "unreadable": (Reason.MEDIA_UNREADABLE, "cannot be decoded: it is damaged, or its first bytes claim a wrong type"),
    "truncated": (Reason.MEDIA_UNREADABLE, "is truncated: send the complete file"),
    "empty": (Reason.MEDIA_UNREADABLE, "contains no picture, sound or clip"),
    "resources": (Reason.MEDIA_LIMIT_EXCEEDED, "takes too much time or memory to decode: send a smaller one"),
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


async def read(media_type: str, data: bytes, limits: MediaLimits, output: Output) -> tuple[Facts, bytes]:
    """Decode bytes of a media type in a child process. Return the facts, and the raw elements or b"".

    A cancellation or a timeout kills the child. Raises `MediaError` for bytes that cannot be decoded or exceed a limit.
    """
    async with _child_slots():
        try:
            async with asyncio.timeout(limits.wall_seconds), _child(media_type, limits, output) as child:
                sending = asyncio.create_task(_send(child, data))
                try:
                    return await _receive(child, media_type, limits, output)
                finally:
                    sending.cancel()
        except TimeoutError:
            raise _error("resources", 0, media_type, limits) from None


def _child_slots() -> asyncio.Semaphore:
    """Return the semaphore of this event loop. It allows one child per core: more children would only hold memory."""
    return _slots_of.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(os.cpu_count() or 1))


_slots_of: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def _child(media_type: str, limits: MediaLimits, output: Output) -> AsyncIterator[asyncio.subprocess.Process]:
    start = _START.format(paths=[_PACKAGES, *(path for path in sys.path if path)])
    child = await asyncio.create_subprocess_exec(
        # -I and -S: ignore PYTHON* variables, the user's site-packages and .pth files.
        *(sys.executable, "-I", "-S", "-c", start, media_type, json.dumps(dataclasses.asdict(limits)), output),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_ENVIRONMENT,
        cwd="/",
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await asyncio.shield(child.wait())


async def _send(child: asyncio.subprocess.Process, data: bytes) -> None:
    assert child.stdin is not None
    # A child that finds an error early does not read to the end.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(data)
        await child.stdin.drain()
        child.stdin.close()


async def _receive(
    child: asyncio.subprocess.Process, media_type: str, limits: MediaLimits, output: Output
) -> tuple[Facts, bytes]:
    assert child.stdout is not None
    try:
        facts = _checked(json.loads(await child.stdout.readline()), media_type, limits)
        size = _size(facts, kinds.MODALITIES[media_type]) if output == "elements" else 0
        elements = await child.stdout.readexactly(size)
        if await child.stdout.read(1) or await child.wait() != 0:
            raise _error("unreadable", 0, media_type, limits)
    except (asyncio.IncompleteReadError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # The kernel killed the child for its memory or time, or hostile bytes control it.
        raise _error("resources" if await child.wait() else "unreadable", 0, media_type, limits) from None
    return facts, elements


def _checked(line: Any, media_type: str, limits: MediaLimits) -> Facts:
    """Return the child's facts. Raise `ValueError` unless they are numbers within the limits."""
    if "error" in line:
        raise _error(line["error"], float(line["value"]), media_type, limits)
    facts = {name: float(value) for name, value in line.items()}
    pixels = facts.get("width", 1) * facts.get("height", 1)
    within_limits = {
        "image": lambda: 0 < pixels <= limits.pixels,
        "audio": lambda: (
            0 < facts["samples"] <= limits.seconds * facts["rate"] <= limits.seconds * limits.max_sample_rate
            and 0 < facts["channels"] <= limits.channels
        ),
        "video": lambda: 0 < pixels * facts["frames"] <= limits.clip_pixels and 0 < facts["rate"] <= 1000,
    }
    if not within_limits[kinds.MODALITIES[media_type]]():
        raise ValueError("the child's numbers exceed its limits")
    return facts


def _size(facts: Facts, modality: str) -> int:
    if modality == "audio":
        return int(facts["samples"]) * 4
    return int(facts["width"]) * int(facts["height"]) * int(facts.get("frames", 1)) * 3


def _error(code: str, value: float, media_type: str, limits: MediaLimits) -> MediaError:
    reason, template = _ERRORS[code]
    message = f"the attached {media_type} {template.format(value=value, limits=limits)}"
    return MediaError(message, reason, {"media_type": media_type, "cause": code})
