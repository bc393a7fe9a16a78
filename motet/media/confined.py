"""The parent's side of the confined child: start it, feed it, check every word it says, and end it."""

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

Numbers = Mapping[str, float]
Wanted = Literal["elements", "facts"]

_START = "import sys; sys.path += {paths!r}; sys.argv = ['', *sys.argv[1:]]; from motet.media.child import main; main()"
# The child sees none of this process's variables, but for where libraries are. One thread: NumPy would start more.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"} | {
    name: os.environ[name] for name in os.environ if name == "LD_LIBRARY_PATH"
}
_PACKAGES = str(Path(__file__).resolve().parents[2])

# What a child may refuse with, and how that is told. "{found}" and the limit's field are put in.
_REFUSALS: Mapping[str, tuple[Reason, str]] = {
    "unreadable": (Reason.MEDIA_UNREADABLE, "cannot be decoded: it is damaged, or not what its first bytes claim"),
    "truncated": (Reason.MEDIA_UNREADABLE, "ends too early: send the whole file"),
    "empty": (Reason.MEDIA_UNREADABLE, "holds nothing to see or hear"),
    "resources": (Reason.MEDIA_LIMIT_EXCEEDED, "takes too much time or memory to decode: send a smaller one"),
    "pixels": (Reason.MEDIA_LIMIT_EXCEEDED, "has {found:.0f} pixels; at most {limits.pixels} are allowed"),
    "aspect": (
        Reason.MEDIA_LIMIT_EXCEEDED,
        "is {found:.0f} times as long as it is wide; at most {limits.aspect} are allowed",
    ),
    "seconds": (Reason.MEDIA_LIMIT_EXCEEDED, "lasts {found:.0f} s; at most {limits.seconds:.0f} s are allowed"),
    "frames": (Reason.MEDIA_LIMIT_EXCEEDED, "has {found:.0f} or more frames; at most {limits.frames} are allowed"),
    "channels": (Reason.MEDIA_LIMIT_EXCEEDED, "has {found:.0f} channels; 1 to {limits.channels} are allowed"),
    "rate": (
        Reason.MEDIA_LIMIT_EXCEEDED,
        "has {found:.0f} samples a second; {limits.lowest_rate} to {limits.highest_rate} are allowed",
    ),
}


async def read(media_type: str, data: bytes, limits: MediaLimits, wanted: Wanted) -> tuple[Numbers, bytes]:
    """Have a child decode bytes of a type; return its numbers, and the raw elements if those are wanted.

    Cancelling, or running out of time, kills the child. Raises `MediaError` for bytes it cannot or may not decode.
    """
    async with _turns():
        try:
            async with asyncio.timeout(limits.wall_seconds), _child(media_type, limits, wanted) as child:
                sending = asyncio.create_task(_send(child, data))
                try:
                    found, body = await _receive(child, media_type, limits, wanted)
                finally:
                    sending.cancel()
        except TimeoutError:
            raise _error("resources", 0, media_type, limits) from None
    return found, body


def _turns() -> asyncio.Semaphore:
    """At most one child per core at a time; more would only share the cores, and hold more memory."""
    loop = asyncio.get_running_loop()
    if loop not in _turns_of:
        _turns_of[loop] = asyncio.Semaphore(os.cpu_count() or 1)
    return _turns_of[loop]


_turns_of: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def _child(media_type: str, limits: MediaLimits, wanted: Wanted) -> AsyncIterator[asyncio.subprocess.Process]:
    start = _START.format(paths=[_PACKAGES, *(path for path in sys.path if path)])
    child = await asyncio.create_subprocess_exec(
        # Isolated, and without site: no variable, no folder of the user's and no .pth file has a say.
        *(sys.executable, "-I", "-S", "-c", start, media_type, json.dumps(dataclasses.asdict(limits)), wanted),
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
    # A child that refuses early does not read to the end.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(data)
        await child.stdin.drain()
        child.stdin.close()


async def _receive(
    child: asyncio.subprocess.Process, media_type: str, limits: MediaLimits, wanted: Wanted
) -> tuple[Numbers, bytes]:
    assert child.stdout is not None
    try:
        found = _checked(json.loads(await child.stdout.readline()), media_type, limits)
        size = _size(found, kinds.MODALITIES[media_type]) if wanted == "elements" else 0
        body = await child.stdout.readexactly(size)
        if await child.stdout.read(1) or await child.wait() != 0:
            raise _error("unreadable", 0, media_type, limits)
    except (asyncio.IncompleteReadError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # It was killed for what it used, or it has been taken over; either way these bytes are not to be trusted.
        raise _error("resources" if await child.wait() else "unreadable", 0, media_type, limits) from None
    return found, body


def _checked(line: Any, media_type: str, limits: MediaLimits) -> Numbers:
    """The child's numbers, if they are numbers and within the limits."""
    if "refused" in line:
        raise _error(line["refused"], float(line["found"]), media_type, limits)
    found = {name: float(value) for name, value in line.items()}
    pixels = found.get("width", 1) * found.get("height", 1)
    fits = {
        "image": lambda: 0 < pixels <= limits.pixels,
        "audio": lambda: (
            0 < found["samples"] <= limits.seconds * found["rate"] <= limits.seconds * limits.highest_rate
            and 0 < found["channels"] <= limits.channels
        ),
        "video": lambda: 0 < pixels * found["frames"] <= limits.clip_pixels and 0 < found["rate"] <= 1000,
    }
    if not fits[kinds.MODALITIES[media_type]]():
        raise ValueError("the child's numbers are beyond its limits")
    return found


def _size(found: Numbers, modality: str) -> int:
    if modality == "audio":
        return int(found["samples"]) * 4
    return int(found["width"]) * int(found["height"]) * int(found.get("frames", 1)) * 3


def _error(code: str, found: float, media_type: str, limits: MediaLimits) -> MediaError:
    reason, words = _REFUSALS[code]
    message = f"the attached {media_type} {words.format(found=found, limits=limits)}"
    return MediaError(message, reason, {"media_type": media_type, "cause": code})
