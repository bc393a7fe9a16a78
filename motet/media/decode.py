"""Media from outside to arrays. Every byte is read in a confined child process; what it says is checked here.

Cancelling any of these, or running out of time, kills the child; none is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.media import kinds
from motet.media.limits import DEFAULT_LIMITS, MediaLimits

Numbers = Mapping[str, float]

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


@dataclass(frozen=True, slots=True)
class Probe:
    """What media turned out to be, after all of it was decoded once. What does not apply is 0.

    `rate` is samples or frames a second.
    """

    media_type: str
    modality: str
    width: int = 0
    height: int = 0
    frames: int = 0
    samples: int = 0
    channels: int = 0
    rate: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it lasts; 0 for a still picture."""
        return (self.frames or self.samples) / self.rate if self.rate else 0.0


async def probe(data: bytes, declared: str = "", limits: MediaLimits = DEFAULT_LIMITS) -> Probe:
    """Decode the bytes once, keep nothing, and say what they are.

    Raises `MediaError` for bytes that are of no supported type, not of the declared modality, damaged, cut short, or
    over a limit. Another type of the declared modality is no error: `Probe.media_type` is what the bytes are.
    """
    media_type = _type_of(Media(declared, data), limits)
    found, _ = await _read(media_type, data, limits, "facts")
    facts = {name: int(value) for name, value in found.items() if name != "rate"}
    return Probe(media_type, kinds.MODALITIES[media_type], rate=found.get("rate", 0.0), **facts)


async def decode_picture(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, 3): the first of several, upright, on white where it is transparent.

    Raises `MediaError`, as do the others.
    """
    found, body = await _elements(media, "image", limits)
    return np.frombuffer(body, np.uint8).reshape(int(found["height"]), int(found["width"]), 3).copy()


async def decode_sound(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.float32], int]:
    """The sound as float32 (samples,) between -1 and 1, its channels averaged, and its samples a second."""
    found, body = await _elements(media, "audio", limits)
    return np.frombuffer(body, np.float32).copy(), int(found["rate"])


async def decode_clip(media: Media, limits: MediaLimits = DEFAULT_LIMITS) -> tuple[NDArray[np.uint8], float]:
    """The clip as uint8 (frames, height, width, 3), and its frames a second.

    Where all frames together exceed `limits.clip_pixels` they come scaled down.
    """
    found, body = await _elements(media, "video", limits)
    shape = (int(found["frames"]), int(found["height"]), int(found["width"]), 3)
    return np.frombuffer(body, np.uint8).reshape(shape).copy(), found["rate"]


async def _elements(media: Media, modality: str, limits: MediaLimits) -> tuple[Numbers, bytes]:
    media_type = _type_of(media, limits)
    if kinds.MODALITIES[media_type] != modality:
        raise MediaError(
            f"attached media must be {modality} here, but the bytes are {media_type}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": media_type},
        )
    return await _read(media_type, media.data, limits, "elements")


def _type_of(media: Media, limits: MediaLimits) -> str:
    """What the bytes claim to be, if it is supported, agrees with what was declared, and is not too much."""
    if len(media.data) > limits.bytes:
        raise MediaError(
            f"attached media take {len(media.data)} bytes; at most {limits.bytes} are allowed",
            Reason.MEDIA_LIMIT_EXCEEDED,
            {"bytes": str(len(media.data)), "limit": str(limits.bytes)},
        )
    found, declared = kinds.sniff(media.data), kinds.normalise(media.media_type)
    if found is None:
        raise MediaError(
            f"the attached bytes are none of {', '.join(kinds.MODALITIES)}",
            Reason.UNSUPPORTED_MEDIA_TYPE,
        )
    if declared and kinds.modality_of(declared) != kinds.MODALITIES[found]:
        raise MediaError(
            f"the attached bytes are {found}, not what they were declared as: declare them as that, or not at all",
            Reason.UNSUPPORTED_MEDIA_TYPE,
            {"media_type": found},
        )
    return found


async def _read(media_type: str, data: bytes, limits: MediaLimits, wanted: str) -> tuple[Numbers, bytes]:
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
async def _child(media_type: str, limits: MediaLimits, wanted: str) -> AsyncIterator[asyncio.subprocess.Process]:
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
    child: asyncio.subprocess.Process, media_type: str, limits: MediaLimits, wanted: str
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
