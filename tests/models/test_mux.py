"""The kind `mux`: one file of a clip and a sound."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from motet.core.bundle import DecoderEntry, EncoderEntry, LanguageModelEntry, Manifest, SignalEntry
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError, MotetError, Reason, RequestError
from motet.core.media import Media
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Progress
from motet.media import encode
from motet.models import mux
from motet.models.mux import MuxDecoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from services.decoder.service import decoder_service
from tests.media.clips import clip_with
from tests.media.samples import RATE, SOUND, clip, picture_file
from tests.transport.serving import served
from tests.waiting import until

ENTRY = DecoderEntry(kind="mux", path="film", conditioning=[1], media_type="video/mp4", steps=1, guidance=1.0)


def manifest(takes: list[Any], **changes: Any) -> Manifest:
    """Return a manifest with a film, whose entry has some changes, and a clip of another modality."""
    return Manifest(
        name="tiny",
        licence="Apache-2.0",
        description="tiny",
        encoder=EncoderEntry(kind="imagebind", path="encoder", modalities=["image", "audio", "video"]),
        language_model=LanguageModelEntry(
            path="llm", projections="projections", prompt="vicuna-v0", first_control=100, max_tokens=64
        ),
        signals={
            "animation": SignalEntry(token="[A{i}]", run=4, decoder="animation"),
            "film": SignalEntry(token="[F{i}]", run=4, decoder="film", takes=takes),
        },
        decoders={"animation": ENTRY, "film": ENTRY.model_copy(update=changes)},
        files={},
    )


MANIFEST = manifest([["animation", "video"], "audio"])
CLIP = encode.encode_clip(clip(8), 4.0)
TONE = encode.encode_sound(SOUND, RATE)


def job(*inputs: Media, **changes: Any) -> DecodeJob:
    return replace(DecodeJob("film", Tensor("float32", (1,), bytes(4)), 1, inputs=inputs or (CLIP, TONE)), **changes)


async def events(decode_job: DecodeJob, deadline: Deadline | None = None) -> list[Any]:
    stream = MuxDecoder(MANIFEST, "film").decode(decode_job, deadline or Deadline.never())
    return [event async for event in stream]


async def film(*inputs: Media) -> bytes:
    data: bytes = (await events(job(*inputs)))[-1].data
    return data


def facts(data: bytes) -> dict[str, tuple[str, float]]:
    """Return the codec and the seconds of each kind of stream."""
    with av.open(io.BytesIO(data)) as container:
        return {
            stream.type: (stream.codec_context.name, float(stream.duration * stream.time_base))
            for stream in container.streams
        }


def sound_of(data: bytes) -> np.ndarray[Any, Any]:
    with av.open(io.BytesIO(data)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.0])
async def test_the_clip_decides_the_length_of_the_film(seconds: float) -> None:
    tone = encode.encode_sound(np.resize(SOUND, int(seconds * RATE)), RATE)
    assert facts(await film(CLIP, tone)) == {"video": ("h264", 2.0), "audio": ("aac", 2.0)}


async def test_a_short_sound_is_followed_by_silence_and_a_long_one_is_cut() -> None:
    sound = sound_of(await film(CLIP, TONE))
    assert np.abs(sound[2000:14_000]).max() > 0.4
    assert np.abs(sound[RATE + 2048 : 2 * RATE]).max() < 0.01
    longer = sound_of(await film(CLIP, encode.encode_sound(np.resize(SOUND, 3 * RATE), RATE)))
    assert np.abs(longer[RATE + 2048 : 2 * RATE - 2048]).max() > 0.4


async def test_the_frames_are_those_of_the_clip() -> None:
    with av.open(io.BytesIO(await film())) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert frames.shape == clip(8).shape
    assert np.abs(frames.astype(int) - clip(8)).mean() < 4


async def test_clips_and_sounds_of_other_types_rates_and_channels_are_joined() -> None:
    webm = Media("", clip_with("webm", "libvpx-vp9", frames=10, sound=1.0))
    stereo = io.BytesIO()
    soundfile.write(stereo, np.stack([SOUND, SOUND], axis=1), 96_000, format="FLAC")
    found = facts(await film(webm, Media("audio/flac", stereo.getvalue())))
    assert found["video"][0] == "h264"
    assert found["video"][1] == pytest.approx(1.0, abs=0.01)
    assert found["audio"] == ("aac", pytest.approx(1.0, abs=0.01))


async def test_equal_inputs_make_equal_bytes_whatever_the_seed_and_the_steps() -> None:
    results = [(await events(job(seed=seed, steps=seed)))[-1] for seed in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert results[0] != (await events(job(CLIP, encode.encode_sound(SOUND / 2, RATE))))[-1]


async def test_the_progress_counts_the_frames_and_the_media_are_last() -> None:
    times = collect_compute_times()
    received = await events(job())
    assert received[:-1] == [Progress(frame, 8) for frame in range(1, 9)]
    assert received[-1].media_type == "video/mp4"
    assert times.totals()[ServiceKind.DECODER, "film"].cpu > 0


@pytest.mark.parametrize(
    ("inputs", "reason", "message"),
    [
        ((CLIP,), Reason.INVALID_REQUEST, "the film decoder takes video and audio as inputs, but the job has 1"),
        ((CLIP, TONE, TONE), Reason.INVALID_REQUEST, "the job has 3"),
        ((TONE, CLIP), Reason.UNSUPPORTED_MEDIA_TYPE, "input 1 of the job: .* must be video here"),
        ((CLIP, Media("", picture_file("PNG"))), Reason.UNSUPPORTED_MEDIA_TYPE, "input 2 of the job: .* audio here"),
        ((Media("", CLIP.data[:-900]), TONE), Reason.MEDIA_UNREADABLE, "input 1 of the job"),
        ((CLIP, Media("", b"no sound")), Reason.UNSUPPORTED_MEDIA_TYPE, "input 2 of the job"),
    ],
)
async def test_inputs_that_do_not_fit_are_refused_by_their_position(
    inputs: tuple[Media, ...], reason: Reason, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        await events(job(*inputs))
    assert caught.value.reason is reason


async def test_a_job_of_another_modality_is_refused() -> None:
    with pytest.raises(RequestError, match="makes film, not 'smell'"):
        await events(DecodeJob("smell", Tensor("float32", (1,), bytes(4)), 1, inputs=(CLIP, TONE)))


class HeldEncoding:
    """The encoding of a film that stops after its first frame until the test releases it."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.ended = threading.Event()
        self.released = threading.Event()

    def __call__(self, clip: Any, rate: float, sound: Any, sound_rate: int, on_frame: Any) -> Media:
        def watched(frames: int) -> None:
            self.frames.append(frames)
            on_frame(frames)
            assert self.released.wait(50)

        try:
            return encode.encode_film(clip, rate, sound, sound_rate, watched)
        finally:
            self.ended.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldEncoding:
    encoding = HeldEncoding()
    monkeypatch.setattr(mux, "encode_film", encoding)
    return encoding


async def test_a_cancelled_job_encodes_no_further_frame(held: HeldEncoding) -> None:
    task = asyncio.create_task(events(job()))
    await until(lambda: bool(held.frames))
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    held.released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.ended.is_set()
    assert held.frames == [1, 2]


async def test_a_closed_stream_encodes_no_further_frame(held: HeldEncoding) -> None:
    stream: AsyncIterator[Any] = MuxDecoder(MANIFEST, "film").decode(job(), Deadline.never())
    async with aclosing(stream):  # type: ignore[type-var]
        assert await anext(stream) == Progress(1, 8)
        asyncio.get_running_loop().call_soon(held.released.set)
    assert held.ended.is_set()
    assert len(held.frames) < 8


async def test_a_deadline_stops_the_encoding(held: HeldEncoding, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("motet.core.deadline.now", lambda: seconds[0])
    task = asyncio.create_task(events(job(), Deadline.after(1e6)))
    await until(lambda: bool(held.frames))
    seconds[0] = 2e6
    held.released.set()
    with pytest.raises(DeadlineError, match="at frame 2 of 8"):
        await task


async def test_a_deadline_that_has_passed_reads_no_input() -> None:
    with pytest.raises(DeadlineError):
        await events(job(Media("", b""), Media("", b"")), Deadline.after(-1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"media_type": "video/webm"}, 'media_type must be "video/mp4", not "video/webm"'),
        ({"steps": 2}, "steps must be 1, not 2"),
        ({"guidance": 2.0}, "guidance must be 1, not 2.0"),
        ({"shared": {"vae": "vae"}}, "shared must be {}, not"),
        ({"options": {"frames": 1.0}}, "options must be {}, not"),
    ],
)
def test_an_entry_of_the_manifest_that_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match="bundle.yaml, the film decoder") as caught:
        MuxDecoder(manifest([["animation", "video"], "audio"], **change), "film")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "takes", [[], ["video"], ["audio", "video"], [["video", "image"], "audio"], ["image", "audio"]]
)
def test_slots_that_are_not_a_clip_and_a_sound_are_refused(takes: list[Any]) -> None:
    with pytest.raises(BundleError, match="signals.film: takes must be a slot for video, then one for audio, not"):
        MuxDecoder(manifest(takes), "film")


async def test_a_film_is_served_from_a_bundle_without_weights(tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_text(MANIFEST.model_dump_json())
    service = decoder_service({"bundle": str(tmp_path), "modality": "film", "listen": "127.0.0.1:0"})
    async with (
        service.open() as opened,
        Server(opened.servicers) as server,
        open_channel(server.address) as channel,
    ):
        remote = [event async for event in RemoteDecoder(channel).decode(job(), Deadline.after(50))]
    assert remote == await events(job())


async def test_a_film_of_a_served_decoder_has_the_same_bytes_with_inputs_of_many_chunks() -> None:
    long = encode.encode_sound(np.resize(SOUND, 50 * RATE), RATE)
    assert len(long.data) > 2**20
    async with served(MuxDecoder(MANIFEST, "film")) as (_, channel):
        remote = [event async for event in RemoteDecoder(channel).decode(job(CLIP, long), Deadline.after(50))]
    assert remote[-1] == (await events(job(CLIP, long)))[-1]


def test_a_film_needs_no_torch() -> None:
    program = (
        "import sys\nsys.modules['torch'] = sys.modules['diffusers'] = None\n"
        "import asyncio\nfrom tests.models.test_mux import film\nassert asyncio.run(film())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_an_error_while_encoding_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Media:
        raise MotetError("the disk is full")

    monkeypatch.setattr(mux, "encode_film", fail)
    with pytest.raises(MotetError, match="the disk is full"):
        await events(job())
