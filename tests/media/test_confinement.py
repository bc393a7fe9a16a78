"""The confinement of decoding children: the layers that are on, and media that are decoded as without them."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from motet.core.errors import MediaError, Reason
from motet.core.media import Media
from motet.core.preprocessing import AS_SHOWN
from motet.core.telemetry.families import media_metrics
from motet.media import confined, decode, kinds
from motet.media.confinement import system_calls
from motet.media.confinement.layers import Layer
from motet.media.layer_check import check_layers
from motet.media.limits import DEFAULT_LIMITS
from motet.media.readers import reader_of
from motet.media.reading import Reading
from tests.media.clips import clip_with
from tests.media.samples import clip_file, picture_file, sound_file
from tests.media.test_hostile import child_started, children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers need Linux")

FILES = Path(__file__).parent / "files"
SAMPLES = {
    "png": picture_file("PNG"),
    "jpeg": picture_file("JPEG"),
    "progressive jpeg": picture_file("JPEG", progressive=True),
    "webp": picture_file("WEBP"),
    "lossless webp": picture_file("WEBP", lossless=True),
    "wav": sound_file("WAV", "PCM_16"),
    "wav of floats": sound_file("WAV", "FLOAT"),
    "flac": sound_file("FLAC", "PCM_16"),
    "mp3": sound_file("MP3", "MPEG_LAYER_III"),
    "vorbis": sound_file("OGG", "VORBIS"),
    "opus": sound_file("OGG", "OPUS"),
    "h264 in mp4": clip_file("mp4", "libx264"),
    "mpeg4 in mov": clip_with("mov", "mpeg4"),
    "vp8 in webm": clip_file("webm", "libvpx"),
    "vp9 in webm": clip_file("webm", "libvpx-vp9"),
    "h264 in matroska": clip_with("matroska"),
    # The encoders of these two leave threads behind, so their files are stored.
    "av1 in mp4": (FILES / "av1.mp4").read_bytes(),
    "hevc in mp4": (FILES / "hevc.mp4").read_bytes(),
}
ARCHITECTURES = {"x86_64": (0xC000003E, {"read": 0, "openat": 257, "ptrace": 101, "prlimit64": 302})}
ARCHITECTURES["aarch64"] = (0xC00000B7, {"read": 63, "openat": 56, "ptrace": 117, "prlimit64": 261})
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050001


def status_of(child: int) -> dict[str, str]:
    """Return the lines of a process's status in /proc by their names."""
    lines = Path(f"/proc/{child}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def confined_status(child: int) -> dict[str, str]:
    """Wait until a child is confined, and return its status."""
    while (status := status_of(child))["Seccomp"] != "2":
        await asyncio.sleep(0.01)
    return status


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_confined_child_outputs_the_same_bytes_as_this_process(name: str) -> None:
    media_type = kinds.sniff(SAMPLES[name])
    assert media_type is not None
    reading = Reading(media_type, DEFAULT_LIMITS, AS_SHOWN, "elements", lambda work: None)

    facts, elements = await confined.read(SAMPLES[name], confined.Order(media_type, DEFAULT_LIMITS, "elements"))

    expected_facts, expected = reader_of(media_type)(SAMPLES[name], reading)
    assert (facts, elements.tobytes()) == (expected_facts, b"".join(expected))


@pytest.mark.parametrize("media_type", [kinds.PNG, kinds.WAV, kinds.MP4])
async def test_the_kernel_confirms_the_layers_of_a_child_before_its_first_byte(media_type: str) -> None:
    leaked, other = os.pipe()
    os.set_inheritable(leaked, True)
    async with confined._child(confined.Order(media_type, DEFAULT_LIMITS, "facts")) as child:
        status = await confined_status(child.pid)
        descriptors = os.listdir(f"/proc/{child.pid}/fd")
    os.close(leaked)
    os.close(other)

    assert sorted(descriptors) == ["0", "1", "2"]
    # A filter applies to one thread only.
    assert (status["Threads"], status["NoNewPrivs"]) == ("1", "1")
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    if os.geteuid() == 0:
        assert min(int(user) for name in ("Uid", "Gid") for user in status[name].split()) >= 65_534
        assert status["Groups"] == ""


async def test_two_children_of_root_have_different_users() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change the user of a child")
    order = confined.Order(kinds.PNG, DEFAULT_LIMITS, "facts")
    async with confined._child(order) as first, confined._child(order) as second:
        users = [(await confined_status(child.pid))["Uid"] for child in (first, second)]

    assert users[0] != users[1]


async def test_a_child_that_the_filter_kills_is_a_clear_error_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    before = media_metrics.MEDIA_FORBIDDEN_CALLS._value.get()
    task = asyncio.create_task(decode.probe(Media("", SAMPLES["png"])))
    await child_started()
    # The filter ends a child with this signal, see tests/media/test_escapes.py.
    os.kill(int(children()[0]), signal.SIGSYS)

    with caplog.at_level(logging.WARNING), pytest.raises(MediaError, match="forbidden system call") as caught:
        await task

    assert (caught.value.reason, caught.value.metadata["cause"]) == (Reason.MEDIA_UNREADABLE, "forbidden")
    assert "killed for a forbidden system call" in caplog.text
    assert media_metrics.MEDIA_FORBIDDEN_CALLS._value.get() == before + 1


def test_all_layers_of_a_child_are_on_where_the_kernel_has_them() -> None:
    states = check_layers()

    assert set(states) == set(Layer)
    off = {layer for layer, reason in states.items() if reason}
    # This process is no service, so it may be dumped.
    assert off - {Layer.NONDUMPABLE} == (set() if os.geteuid() == 0 else {Layer.USER})


def test_without_libseccomp_the_layer_is_off_with_the_remedy_and_media_are_decoded() -> None:
    program = (
        "import asyncio, json; from motet.core.media import Media; from motet.media import decode;"
        "from motet.media.confinement import system_calls; from motet.media.layer_check import check_layers;"
        "from tests.media.samples import picture_file; system_calls._LIBRARY = 'libabsent.so.9'\n"
        "width = asyncio.run(decode.probe(Media('', picture_file('PNG')))).width\n"
        "print(json.dumps([check_layers(), width]))"
    )
    states, width = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)

    assert "install the package libseccomp2" in states["seccomp"]
    assert states["landlock"] == ""
    assert width == 64


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_allows_refuses_and_kills_on(machine: str) -> None:
    architecture, numbers = ARCHITECTURES[machine]
    native = os.uname().machine == machine
    program = system_calls._compile(ctypes.CDLL(system_calls._LIBRARY), 0 if native else architecture)

    assert action(program, architecture, numbers["read"]) == ALLOW
    assert action(program, architecture, numbers["openat"]) == REFUSE
    assert action(program, architecture, numbers["ptrace"]) == KILL
    assert action(program, architecture, numbers["prlimit64"], 0) == ALLOW
    assert action(program, architecture, numbers["prlimit64"], os.getppid()) == REFUSE
    # The 32-bit system calls of x86, which have other numbers.
    assert action(program, 0x40000003, 3) == KILL


def test_every_allowed_system_call_has_a_name_that_libseccomp_knows() -> None:
    resolve = ctypes.CDLL(system_calls._LIBRARY).seccomp_syscall_resolve_name
    names = (*system_calls._ALLOWED, *system_calls._ALLOWED_FOR_ITSELF)

    assert [name for name in names if resolve(name.encode()) == -1] == []


def action(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """Return the action of a filter for a system call, by running its BPF instructions."""
    instructions = list(struct.iter_unpack("HBBI", program))
    data = struct.pack("iIQ6Q", number, architecture, 0, argument, *[0] * 5)
    position, value = 0, 0
    while True:
        code, if_true, if_false, constant = instructions[position]
        position += 1
        match code:
            case 0x20:  # load a word
                (value,) = struct.unpack_from("I", data, constant)
            case 0x06:  # return
                return int(constant)
            case 0x05:  # jump
                position += constant
            case 0x15 | 0x25 | 0x35:  # jump if equal, greater, greater or equal
                holds = {0x15: value == constant, 0x25: value > constant, 0x35: value >= constant}[code]
                position += if_true if holds else if_false
            case _:
                pytest.fail(f"unknown instruction {code:#x}")
