"""Tests of damaged, oversized and hostile media: each gets a clear error, and other media are not affected."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.media import confined, decode
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from tests.media.clips import clip_with
from tests.media.samples import (
    SOUND,
    clip,
    clip_file,
    jpeg_with_scans,
    picture_file,
    png_that_claims,
    sound_file,
    wav_that_claims,
)

VALID = {
    "png": picture_file("PNG"),
    "jpeg": picture_file("JPEG"),
    "webp": picture_file("WEBP"),
    "wav": sound_file("WAV", "PCM_16"),
    "flac": sound_file("FLAC", "PCM_16"),
    "mp4": clip_file("mp4", "libx264"),
}


async def error_of(data: bytes, declared: str = "", limits: MediaLimits = DEFAULT_LIMITS) -> MediaError:
    """Return the error of a probe."""
    with pytest.raises(MediaError) as caught:
        await decode.probe(Media(declared, data), limits)
    return caught.value


def children() -> list[str]:
    """Return the ids of the running child processes."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def child_started() -> None:
    """Wait until a child runs. It gets its first bytes later, so it cannot have ended yet."""
    while not children():
        await asyncio.sleep(0)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", VALID)
async def test_truncated_media_are_unreadable(name: str, share: float) -> None:
    error = await error_of(VALID[name][: max(16, int(len(VALID[name]) * share))])

    assert error.reason == Reason.MEDIA_UNREADABLE


@pytest.mark.parametrize("name", ["png", "flac", "mp4"])
async def test_noise_after_a_valid_header_is_unreadable(name: str) -> None:
    noise = np.random.default_rng(1).bytes(len(VALID[name]))

    error = await error_of(VALID[name][:60] + noise)

    assert error.reason == Reason.MEDIA_UNREADABLE
    assert "Error" not in str(error)


async def test_a_text_declared_as_png_is_refused_with_the_supported_types() -> None:
    error = await error_of(b"Dear all, this is a text.", "image/png")

    assert error.reason == Reason.UNSUPPORTED_MEDIA_TYPE
    assert "image/png" in str(error)


async def test_a_sound_declared_as_a_picture_is_refused() -> None:
    error = await error_of(VALID["wav"], "image/png")

    assert (error.reason, error.metadata["media_type"]) == (Reason.UNSUPPORTED_MEDIA_TYPE, "audio/wav")


async def test_a_sound_cannot_be_decoded_as_a_picture() -> None:
    with pytest.raises(MediaError, match="must be image here, but the bytes are audio/wav"):
        await decode.decode_picture(Media("", VALID["wav"]))


async def test_a_file_of_two_formats_has_the_type_of_its_beginning() -> None:
    both = VALID["png"] + VALID["mp4"] + b"<script>alert(1)</script>"

    assert (await decode.probe(Media("", both))).media_type == "image/png"
    assert (await error_of(both, "video/mp4")).reason == Reason.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_that_claims(50_000, 50_000), "2500000000 pixels; at most 16000000"),
        (png_that_claims(60_000, 1), "aspect ratio of 60000; at most 32"),
        (wav_that_claims(3200, rate=1), "sample rate of 1 Hz; 4000 to 192000 Hz"),
        (sound_file("WAV", "PCM_16", np.zeros((100, 9), np.float32)), "9 channels; 1 to 8"),
        (sound_file("WAV", "PCM_16", np.tile(SOUND, 61)), "lasts 61 s; at most 60 s"),
        (sound_file("MP3", "MPEG_LAYER_III", np.tile(SOUND, 62)), "at most 60 s"),
        (clip_file("mp4", "libx264", clip(601, 16, 16)), "at most 60 s|601 or more frames; at most 600"),
        (clip_file("webm", "libvpx", clip(490, 16, 16)), "lasts 61 s; at most 60 s"),
    ],
    ids=["pixels", "aspect ratio", "rate", "channels", "wav", "mp3", "mp4", "webm"],
)
async def test_media_beyond_a_limit_are_refused_with_the_limit(data: bytes, message: str) -> None:
    error = await error_of(data)

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED
    assert re.search(message, str(error))


async def test_too_many_bytes_are_refused_before_a_child_is_started() -> None:
    error = await error_of(VALID["png"] + bytes(1000), limits=MediaLimits(bytes=1000))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED


async def test_a_streamed_wav_gives_all_its_samples() -> None:
    sound, _ = await decode.decode_sound(Media("", wav_that_claims(2**32 - 1)))

    assert len(sound) == 1600


async def test_a_clip_with_too_many_pixels_is_scaled_down() -> None:
    data = clip_file("mp4", "libx264", clip(4, 96, 128))

    pictures, _ = await decode.decode_clip(Media("", data), MediaLimits(clip_pixels=4 * 48 * 64))

    assert pictures.shape == (4, 48, 64, 3)


async def test_a_child_with_too_little_memory_is_a_limit_error_not_a_damaged_file() -> None:
    error = await error_of(png_that_claims(4000, 4000), limits=MediaLimits(memory=64 * 1024 * 1024))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED


async def test_a_picture_that_takes_long_by_its_header_is_refused_before_it_is_decoded() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    error = await error_of(jpeg_with_scans(1000, 4000))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED
    assert "to decode; at most 10 s are allowed" in str(error)
    # Two children start and read the header. The decoding would take 14 s.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4
    assert (await decode.probe(Media("", jpeg_with_scans(20, 400)))).width == 400


async def test_a_child_that_takes_longer_than_its_header_predicts_is_killed() -> None:
    program = (
        "import resource, time; from motet.media.child import _allow; from motet.media.limits import DEFAULT_LIMITS\n"
        "_allow(0.001, DEFAULT_LIMITS); limit, _ = resource.getrlimit(resource.RLIMIT_CPU)\n"
        "print(limit, flush=True)\n"
        "while time.process_time() < limit + 5: pass\n"
        "print('not killed')"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()

    assert int(out) <= 4
    assert child.returncode == -signal.SIGXCPU


async def test_a_child_that_takes_too_long_is_killed() -> None:
    error = await error_of(VALID["mp4"], limits=MediaLimits(wall_seconds=0.01))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED
    assert children() == []


@pytest.mark.parametrize("delay", [0, 0.2], ids=["while it starts", "while it should read"])
async def test_cancelling_kills_the_child(delay: float) -> None:
    task = asyncio.create_task(decode.probe(Media("", VALID["mp4"])))
    await child_started()
    os.kill(int(children()[0]), signal.SIGSTOP)  # a stopped child does not end by itself
    await asyncio.sleep(delay)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert children() == []


@pytest.mark.parametrize("kind", ["many elements", "many bytes"])
async def test_the_largest_media_do_not_hold_the_event_loop(kind: str) -> None:
    if kind == "many elements":
        # The encoder reads all ten frames, which have 180 MB.
        media = Media("", clip_with(frames=10, sides=(2000, 3000), times=tuple(range(0, 100, 10)), last=10))
    else:
        media = Media("", sound_file("WAV", "PCM_16", np.zeros((2_880_000, 5), np.float32), 48_000))
    reading = asyncio.gather(decode.probe(media, keep=True), decode.probe(media))

    # The time of this thread, because on a busy machine other processes would also be measured.
    longest, before = 0.0, time.thread_time()
    while not reading.done():
        await asyncio.sleep(0.001)
        after = time.thread_time()
        longest, before = max(longest, after - before), after

    await reading
    assert longest < 0.1


async def test_a_child_killed_from_outside_is_a_clear_error_and_later_media_are_decoded() -> None:
    task = asyncio.create_task(decode.probe(Media("", VALID["mp4"])))
    await child_started()
    os.kill(int(children()[0]), 9)

    with pytest.raises(MediaError, match="too much time or memory"):
        await task
    assert (await decode.probe(Media("", VALID["png"]))).width == 64


async def test_at_most_one_child_per_core_runs_and_none_is_left() -> None:
    tasks = [asyncio.create_task(decode.probe(Media("", data))) for data in list(VALID.values()) * 2]
    maximum = 0
    while not all(task.done() for task in tasks):
        maximum = max(maximum, len(children()))
        await asyncio.sleep(0.002)

    assert 1 <= maximum <= max(2, os.cpu_count() or 1)  # two on one core, so that small media need not wait
    assert [task.exception() for task in tasks] == [None] * len(tasks)
    assert children() == []


@pytest.mark.parametrize(
    "attempt",
    ["open('/etc/hostname')", "__import__('socket').socket()", "__import__('os').fork()", "bytearray(2**31)"],
    ids=["file", "socket", "process", "memory"],
)
async def test_limits_alone_let_a_child_open_nothing(attempt: str) -> None:
    program = (
        "import os, socket; from motet.media.confinement.layers import Layer, confine;"
        "from motet.media.limits import MediaLimits;"
        "os.getuid() or os.setuid(65534); confine(MediaLimits(), b'', {Layer.LIMITS})\n"
        f"try:\n    {attempt}\nexcept (OSError, MemoryError): print('refused')"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()

    assert out == b"refused\n"


async def test_an_unprivileged_child_decodes_all_types() -> None:
    # The limit on threads does not apply to root. A codec that needs a thread would fail for all other users.
    program = (
        "import os; from motet.core import preprocessing; from motet.media.confinement import layers;"
        "from motet.media.confinement.system_calls import compiled_filter;"
        "from motet.media import kinds, limits, readers, reading; from tests.media.test_hostile import VALID\n"
        "for data in VALID.values(): readers.reader_of(kinds.sniff(data))\n"
        "layers.confine(limits.DEFAULT_LIMITS, compiled_filter())\n"
        "for data in VALID.values():\n"
        "    kind = kinds.sniff(data)\n"
        "    order = reading.Reading(kind, limits.DEFAULT_LIMITS, preprocessing.AS_SHOWN, 'views', lambda work: None)\n"
        "    readers.reader_of(kind)(data, order)"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, errors = await child.communicate()

    assert (child.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"not json",
        b'{"error": "any text", "value": 0}',
        b'{"width": 1e9, "height": 1e9}',
        b'{"width": NaN, "height": 4}',
        b'{"width": 4, "height": 4}',
        b"[" * 50_000,
    ],
)
async def test_invalid_output_of_a_child_is_refused(line: bytes) -> None:
    child = await asyncio.create_subprocess_exec(
        "/bin/echo", line.decode(), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE
    )

    with pytest.raises(MediaError, match="image/png cannot be decoded"):
        await confined._receive(child, confined.Order("image/png", MediaLimits(), "elements"))
