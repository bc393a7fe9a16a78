"""What comes from outside and is not what it should be: it gets a clear answer, and harms nobody."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.media import confined, decode
from motet.media.limits import DEFAULT_LIMITS, MediaLimits
from tests.media.samples import SOUND, clip, clip_file, picture_file, png_that_claims, sound_file, wav_that_claims

WHOLE = {
    "png": picture_file("PNG"),
    "jpeg": picture_file("JPEG"),
    "webp": picture_file("WEBP"),
    "wav": sound_file("WAV", "PCM_16"),
    "flac": sound_file("FLAC", "PCM_16"),
    "mp4": clip_file("mp4", "libx264"),
}


async def refusal(data: bytes, declared: str = "", limits: MediaLimits = DEFAULT_LIMITS) -> MediaError:
    with pytest.raises(MediaError) as caught:
        await decode.probe(data, declared, limits)
    return caught.value


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def child_started() -> None:
    while not children():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", WHOLE)
async def test_media_cut_short_are_unreadable(name: str, share: float) -> None:
    error = await refusal(WHOLE[name][: max(16, int(len(WHOLE[name]) * share))])

    assert error.reason == Reason.MEDIA_UNREADABLE


@pytest.mark.parametrize("name", ["png", "flac", "mp4"])
async def test_media_full_of_noise_after_an_honest_start_are_unreadable(name: str) -> None:
    noise = np.random.default_rng(1).bytes(len(WHOLE[name]))

    error = await refusal(WHOLE[name][:60] + noise)

    assert error.reason == Reason.MEDIA_UNREADABLE
    assert "Error" not in str(error)


async def test_a_text_named_png_is_refused_with_what_would_do() -> None:
    error = await refusal(b"Dear all, this is a text.", "image/png")

    assert error.reason == Reason.UNSUPPORTED_MEDIA_TYPE
    assert "image/png" in str(error)


async def test_a_sound_declared_as_a_picture_is_refused() -> None:
    error = await refusal(WHOLE["wav"], "image/png")

    assert (error.reason, error.metadata["media_type"]) == (Reason.UNSUPPORTED_MEDIA_TYPE, "audio/wav")


async def test_a_sound_is_not_taken_where_a_picture_is_needed() -> None:
    with pytest.raises(MediaError, match="must be image here, but the bytes are audio/wav"):
        await decode.decode_picture(Media("", WHOLE["wav"]))


async def test_a_file_that_is_two_things_is_only_what_it_begins_as() -> None:
    both = WHOLE["png"] + WHOLE["mp4"] + b"<script>alert(1)</script>"

    assert (await decode.probe(both)).media_type == "image/png"
    assert (await refusal(both, "video/mp4")).reason == Reason.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png_that_claims(50_000, 50_000), "2500000000 pixels; at most 16000000"),
        (png_that_claims(60_000, 1), "60000 times as long as it is wide"),
        (wav_that_claims(3200, rate=1), "1 samples a second; 4000 to 192000"),
        (sound_file("WAV", "PCM_16", np.zeros((100, 9), np.float32)), "9 channels; 1 to 8"),
        (sound_file("WAV", "PCM_16", np.tile(SOUND, 61)), "lasts 61 s; at most 60 s"),
        (sound_file("MP3", "MPEG_LAYER_III", np.tile(SOUND, 62)), "at most 60 s"),
        (clip_file("mp4", "libx264", clip(601, 16, 16)), "at most 60 s|601 or more frames; at most 600"),
        (clip_file("webm", "libvpx", clip(490, 16, 16)), "lasts 61 s; at most 60 s"),
    ],
    ids=["pixels", "ribbon", "rate", "channels", "wav", "mp3", "mp4", "webm"],
)
async def test_giants_are_refused_with_what_is_allowed(data: bytes, words: str) -> None:
    error = await refusal(data)

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED
    assert re.search(words, str(error))


async def test_too_many_bytes_are_refused_before_a_child_is_started() -> None:
    error = await refusal(WHOLE["png"] + bytes(1000), limits=MediaLimits(bytes=1000))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED


async def test_a_wav_that_promises_4_gib_gives_the_samples_it_has() -> None:
    sound, _ = await decode.decode_sound(Media("", wav_that_claims(2**32 - 1)))

    assert len(sound) == 1600


async def test_a_clip_too_large_for_memory_comes_scaled_down() -> None:
    data = clip_file("mp4", "libx264", clip(4, 96, 128))

    pictures, _ = await decode.decode_clip(Media("", data), MediaLimits(clip_pixels=4 * 48 * 64))

    assert pictures.shape == (4, 48, 64, 3)


async def test_a_child_that_needs_too_much_memory_is_told_from_damage() -> None:
    error = await refusal(png_that_claims(4000, 4000), limits=MediaLimits(memory=64 * 1024 * 1024))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED


async def test_a_child_that_takes_too_long_is_killed() -> None:
    error = await refusal(WHOLE["mp4"], limits=MediaLimits(wall_seconds=0.01))

    assert error.reason == Reason.MEDIA_LIMIT_EXCEEDED
    assert children() == []


@pytest.mark.parametrize("later", [0, 0.2], ids=["while it starts", "while it reads"])
async def test_cancelling_kills_the_child(later: float) -> None:
    task = asyncio.create_task(decode.probe(WHOLE["mp4"]))
    await child_started()
    os.kill(int(children()[0]), signal.SIGSTOP)  # it will not end by itself
    await asyncio.sleep(later)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert children() == []


async def test_a_child_killed_from_outside_is_a_clear_error_and_others_go_on() -> None:
    task = asyncio.create_task(decode.probe(WHOLE["mp4"]))
    await child_started()
    os.kill(int(children()[0]), 9)

    with pytest.raises(MediaError, match="too much time or memory"):
        await task
    assert (await decode.probe(WHOLE["png"])).width == 64


async def test_no_child_is_left_and_no_more_than_one_per_core_run_at_once() -> None:
    tasks = [asyncio.create_task(decode.probe(data)) for data in list(WHOLE.values()) * 2]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(children()))
        await asyncio.sleep(0.002)

    assert 1 <= most <= (os.cpu_count() or 1)
    assert [task.exception() for task in tasks] == [None] * len(tasks)
    assert children() == []


@pytest.mark.parametrize(
    "attempt",
    ["open('/etc/hostname')", "__import__('socket').socket()", "__import__('os').fork()", "bytearray(2**31)"],
    ids=["file", "socket", "process", "memory"],
)
async def test_a_child_taken_over_can_reach_nothing(attempt: str) -> None:
    program = (
        "import os, socket; from motet.media.child import _confine; from motet.media.limits import MediaLimits;"
        "os.getuid() or os.setuid(65534); _confine(MediaLimits())\n"
        f"try:\n    {attempt}\nexcept (OSError, MemoryError): print('refused')"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()

    assert out == b"refused\n"


async def test_a_child_without_privileges_reads_everything_too() -> None:
    # The superuser may start threads against the limit; a codec that needs one would fail for everybody else.
    program = (
        "import os; from motet.media import child, kinds, limits, readers; from tests.media.test_hostile import WHOLE\n"
        "for data in WHOLE.values(): readers.prepare(kinds.sniff(data))\n"
        "os.getuid() or os.setuid(65534); child._confine(limits.DEFAULT_LIMITS)\n"
        "for data in WHOLE.values(): readers.READERS[kinds.sniff(data)](data, limits.DEFAULT_LIMITS)"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, errors = await child.communicate()

    assert (child.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"not json",
        b'{"refused": "a text of mine", "found": 0}',
        b'{"width": 1e9, "height": 1e9}',
        b'{"width": NaN, "height": 4}',
        b'{"width": 4, "height": 4}',
        b"[" * 50_000,
    ],
)
async def test_what_a_child_says_is_not_believed(line: bytes) -> None:
    child = await asyncio.create_subprocess_exec(
        "/bin/echo", line.decode(), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.PIPE
    )

    with pytest.raises(MediaError, match="image/png cannot be decoded"):
        await confined._receive(child, "image/png", MediaLimits(), "elements")
