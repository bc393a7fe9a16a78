"""The check of the media that a load receives."""

from __future__ import annotations

import io
from hashlib import sha256

import pytest
from PIL import Image

from motet.core.events import Artifact, Done, Event, Generation, PartDelta, PartDone, PartStarted, State
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.load.media_check import MediaCheck


def picture(width: int = 64, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def received(data: bytes, *chunks: tuple[int, bytes], digest: bytes = b"") -> ClientTrace:
    """Return the trace of a request for a picture of these bytes, which arrive in the chunks, by default in two."""
    trace = ClientTrace(0.0)
    digest = digest or sha256(data).digest()
    artifact = Artifact("artifacts/a", "image", "image/png", len(data), digest, 0.0)
    deltas = [PartDelta("1", offset, chunk) for offset, chunk in chunks or ((0, data[:9]), (9, data[9:]))]
    done = Done(Generation("generations/a", State.SUCCEEDED))
    for payload in (PartStarted("1", 0, "image", "image/png", 0), *deltas, PartDone("1", digest, artifact), done):
        trace.record(Event(1, 0.0, payload))
    return trace


async def checked(*traces: ClientTrace) -> list[str]:
    """Return the faults that a check finds after a good picture of 64 x 64 pixels."""
    check = MediaCheck()
    await check.check([received(picture()), *traces])
    return [trace.media_fault for trace in traces]


async def test_a_request_with_complete_media_of_the_first_size_succeeds() -> None:
    good = received(picture(colour="blue"))

    assert await checked(good) == [""]
    assert good.succeeded
    assert good.media[0].chunks == [], "the bytes are dropped after the check"


@pytest.mark.parametrize(
    ("trace", "fault"),
    [
        (received(picture(width=32)), "another size or length"),
        (received(picture()[:-40]), "does not decode"),
        (received(b"no picture"), "does not decode"),
        (received(picture(), digest=bytes(32)), "other bytes"),
        (received(picture(), (0, picture()[:20])), "not complete"),
        (received(picture(), (0, picture()[:20]), (21, picture()[21:])), "a gap"),
    ],
    ids=["size", "truncated", "no media", "digest", "incomplete", "gap"],
)
async def test_a_request_with_wrong_media_does_not_succeed(trace: ClientTrace, fault: str) -> None:
    (found,) = await checked(trace)

    assert fault in found
    assert not trace.succeeded
    assert trace.failure == found
    assert trace.state is State.SUCCEEDED


async def test_without_decoding_only_the_bytes_count() -> None:
    toy, wrong = received(b"bytes of a toy"), received(b"bytes of a toy", digest=bytes(32))
    await MediaCheck(decodes=False).check([toy, wrong])

    assert [trace.succeeded for trace in (toy, wrong)] == [True, False]


async def test_equal_media_are_decoded_once() -> None:
    check = MediaCheck()
    await check.check([received(picture())])
    await check.check([received(picture(colour="blue")) for _ in range(50)])

    assert len(check._faults) == 2


async def test_a_part_that_failed_is_not_checked() -> None:
    trace = ClientTrace(0.0)
    trace.record(Event(1, 0.0, PartStarted("1", 0, "image", "image/png", 0)))

    assert await checked(trace) == [""]
