"""Tests of admission: an invalid request is refused before any work starts, with what to change."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from motet.core.bundle import Manifest
from motet.core.errors import MediaError, Reason, RequestError
from motet.core.media import Media
from motet.core.request import ArtifactName, DecoderOptions, GenerationRequest, Message
from motet.core.workers import Workers
from motet.media.child_slots import READINGS_PER_REQUEST
from motet.media.decode import ProbeResult
from motet.toys.workers import ToyEncoder, ToyLanguageModel
from orchestrator.settings import OrchestratorSettings
from tests.callers import AnonymousOrchestrator
from tests.media.samples import picture_file
from tests.orchestrator.pipeline_harness import (
    DIGEST,
    MANIFEST,
    orchestrator_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    toy_decoders,
)
from tests.waiting import until

TOO_MANY_MEDIA = [Media("x/a", b"a")] * 33
INVALID = {
    "an empty prompt": (request_of(""), Reason.INVALID_REQUEST, "prompt is empty"),
    "a blank prompt": (request_of(" \n\t", "\u2003"), Reason.INVALID_REQUEST, "prompt is empty"),
    "no part at all": (GenerationRequest((Message("user", ()),)), Reason.INVALID_REQUEST, "prompt is empty"),
    "no turn at all": (GenerationRequest(()), Reason.INVALID_REQUEST, "last turn must be the user's"),
    "the last turn is an assistant's": (
        GenerationRequest((Message("user", ("hi",)), Message("assistant", ("ho",)))),
        Reason.INVALID_REQUEST,
        "last turn must be the user's",
    ),
    "another model": (request_of(model="huge"), Reason.MODEL_NOT_FOUND, "request 'toy'"),
    "an unknown modality": (request_of(allowed_modalities=frozenset({"smell"})), Reason.MODALITY_NOT_SUPPORTED, "a, b"),
    "a limit of an unknown modality": (request_of(max_parts={"smell": 1}), Reason.MODALITY_NOT_SUPPORTED, "a, b"),
    "options of an unknown modality": (
        request_of(decoder_options={"smell": DecoderOptions(3)}),
        Reason.MODALITY_NOT_SUPPORTED,
        "a, b",
    ),
    "300 parts": (request_of(*["x"] * 300), Reason.LIMIT_EXCEEDED, "64"),
    "300 turns": (
        GenerationRequest((Message("user", ("x",)),) * 300),
        Reason.LIMIT_EXCEEDED,
        "256",
    ),
    "4097 parts in all": (GenerationRequest((Message("user", ("x",) * 17),) * 241), Reason.LIMIT_EXCEEDED, "4096"),
    "too much media": (request_of(*TOO_MANY_MEDIA), Reason.LIMIT_EXCEEDED, "32"),
    "too long a text": (request_of("\u00fc" * 131_073), Reason.INPUT_TOO_LARGE, "262144"),
    "half a surrogate pair": (request_of("\ud800"), Reason.INVALID_REQUEST, "surrogate"),
    "media of an unsupported modality": (
        request_of(Media("x/z", b"?")),
        Reason.MODALITY_NOT_SUPPORTED,
        "does not read 'z'",
    ),
    "an unknown artifact": (request_of(ArtifactName("artifacts/none")), Reason.ARTIFACT_NOT_FOUND, "upload it again"),
    "a negative seed": (request_of(seed=-1), Reason.INVALID_REQUEST, "seed"),
    "too large a seed": (request_of(seed=2**64), Reason.INVALID_REQUEST, "seed"),
    "too high a temperature": (request_of(temperature=5.1), Reason.INVALID_REQUEST, "temperature"),
    "a temperature that is no number": (request_of(temperature=math.nan), Reason.INVALID_REQUEST, "temperature"),
    "too high a top_p": (request_of(top_p=1.1), Reason.INVALID_REQUEST, "top_p"),
    "no tokens": (request_of(max_output_tokens=0), Reason.INVALID_REQUEST, "max_output_tokens"),
    "a negative limit of parts": (request_of(max_parts={"a": -1}), Reason.INVALID_REQUEST, "max_parts of a"),
    "a timeout of zero": (request_of(timeout=0.0), Reason.INVALID_REQUEST, "timeout"),
    "a timeout that is no number": (request_of(timeout=math.nan), Reason.INVALID_REQUEST, "timeout"),
    "too many steps": (request_of(decoder_options={"a": DecoderOptions(1001)}), Reason.INVALID_REQUEST, "steps of a"),
    "too few steps": (
        request_of(decoder_options={"a": DecoderOptions(min_steps=0)}),
        Reason.INVALID_REQUEST,
        "min_steps of a",
    ),
    "too high a priority": (request_of(priority=3), Reason.INVALID_REQUEST, "priority must be from -2 to 2"),
    "too long a tenant's name": (request_of(tenant="t" * 65), Reason.LIMIT_EXCEEDED, "64"),
    "too little guidance": (
        request_of(decoder_options={"a": DecoderOptions(guidance=0.5)}),
        Reason.INVALID_REQUEST,
        "guidance of a",
    ),
}


@pytest.mark.parametrize("case", INVALID)
async def test_an_invalid_request_is_refused_with_its_reason_and_starts_nothing(case):
    request, reason, message = INVALID[case]
    encoder, model = ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, script_of("x"))
    orchestrator = orchestrator_of(model, encoder=encoder)

    with pytest.raises(RequestError) as caught:
        await anext(orchestrator.generate(request))

    assert caught.value.reason is reason
    assert message in caught.value.message
    assert not encoder.seen
    assert not model.seen
    assert await orchestrator.generations() == ([], "")


async def test_a_request_with_values_at_the_limits_is_served():
    request = replace(
        request_of(*["x"] * 64),
        seed=2**64 - 1,
        temperature=5.0,
        top_p=0.0,
        max_parts={"a": 10_000},
        decoder_options={"a": DecoderOptions(1000, 50.0, 1000), "b": DecoderOptions(1, 1.0, 1)},
        tenant="t" * 64,
        priority=-2,
        allowed_modalities=frozenset({"a", "text"}),
        model="toy",
    )

    assert record_of(await run_generation(orchestrator_of(script_of("fine")), request)).parts


async def test_values_beyond_the_servers_limits_are_lowered_to_these_limits():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x"))

    orchestrator = orchestrator_of(model, max_parts_per_modality=3, max_output_tokens=40, max_priority=1)
    await run_generation(orchestrator, request_of(max_parts={"a": 9}, max_output_tokens=4000, priority=2))

    assert dict(model.seen[0].ceilings) == {"a": 3, "b": 3}
    assert model.seen[0].priority == 1
    assert model.seen[0].max_tokens == 40


async def test_too_large_attachments_are_refused_one_or_in_total():
    small = Media("x/a", bytes(60))
    for request in (request_of(Media("x/a", bytes(101))), request_of(small, small, small)):
        with pytest.raises(RequestError) as caught:
            await anext(orchestrator_of(max_media_bytes=100, max_input_bytes=150).generate(request))
        assert caught.value.reason is Reason.INPUT_TOO_LARGE


async def test_artifacts_in_the_assistants_turns_are_not_attachments():
    orchestrator = orchestrator_of(script_of("fine"), max_input_media=1, max_input_bytes=10)
    own = [ArtifactName((await orchestrator.upload(Media("x/a", bytes(9)))).name) for _ in range(2)]
    turns = (Message("user", ("draw two",)), Message("assistant", tuple(own)), Message("user", ("again",)))

    assert record_of(await run_generation(orchestrator, GenerationRequest(turns))).parts
    with pytest.raises(RequestError) as caught:
        await anext(orchestrator.generate(GenerationRequest((Message("user", (*own, "what is this?")),))))
    assert caught.value.metadata == {"count": "2", "limit": "1"}


async def test_a_prompt_may_consist_of_media_only():
    assert record_of(
        await run_generation(orchestrator_of(script_of("I see")), request_of(Media("x/a", b"a thing")))
    ).parts


def orchestrator_with(probe, **settings):
    """An orchestrator over toys with a probe of its own."""
    workers = Workers(ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, script_of("fine")), toy_decoders())
    return AnonymousOrchestrator(workers, MANIFEST, DIGEST, OrchestratorSettings(**settings), probe)


async def test_all_attachments_of_a_request_are_probed_at_the_same_time():
    barrier = asyncio.Barrier(3)

    async def probe(media, tenant=""):
        await asyncio.wait_for(barrier.wait(), 20)
        return ProbeResult(media.media_type, "a")

    attachments = [Media("x/a", name) for name in (b"first", b"second", b"third")]
    orchestrator = orchestrator_with(probe)

    request = GenerationRequest(
        (Message("user", (attachments[0], "and", attachments[1])), Message("user", (attachments[2],)))
    )
    assert record_of(await run_generation(orchestrator, request)).parts


async def test_a_request_with_many_attachments_does_not_delay_the_probes_of_others():
    waiting, tenants = [], []

    async def probe(media, tenant=""):
        tenants.append(tenant)
        waiting.append(media.data)
        await asyncio.Event().wait()

    orchestrator = orchestrator_with(probe)
    many = request_of(*(Media("x/a", bytes(size)) for size in range(1, 33)), tenant="many")
    calls = [asyncio.create_task(anext(orchestrator.generate(many)))]
    await until(lambda: len(waiting) == READINGS_PER_REQUEST)
    calls.append(asyncio.create_task(anext(orchestrator.generate(request_of(Media("x/a", b"one"), tenant="one")))))
    await until(lambda: b"one" in waiting)

    assert len(waiting) == READINGS_PER_REQUEST + 1
    assert tenants == ["many"] * READINGS_PER_REQUEST + ["one"]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_the_first_attachment_in_order_decides_the_error_and_the_other_probes_are_cancelled():
    ended = []

    async def probe(media, tenant=""):
        try:
            match media.data:
                case b"slow and bad":
                    await asyncio.sleep(0.05)
                    raise MediaError("the first in order")
                case b"bad":
                    raise MediaError("the first in time")
                case _:
                    await asyncio.Event().wait()
        finally:
            ended.append(media.data)

    attachments = [Media("x/a", data) for data in (b"slow and bad", b"bad", b"endless")]
    with pytest.raises(MediaError, match="the first in order"):
        await anext(orchestrator_with(probe).generate(request_of(*attachments)))

    assert ended == [b"bad", b"slow and bad", b"endless"]


@pytest.mark.parametrize("sizes", [(10, 101), (60, 60, 60)], ids=["one", "all"])
async def test_sizes_are_checked_before_the_first_probe(sizes):
    probed = []

    async def probe(media, tenant=""):
        probed.append(media)
        return ProbeResult("x/a", "a")

    orchestrator = orchestrator_with(probe, max_media_bytes=100, max_input_bytes=150)
    with pytest.raises(RequestError, match="bytes"):
        await anext(orchestrator.generate(request_of(*(Media("x/a", bytes(size)) for size in sizes))))

    assert probed == []


async def test_an_attachment_keeps_its_digest_under_the_detected_type():
    media = Media("", b"a thing")
    encoder = ToyEncoder()
    orchestrator = orchestrator_of(script_of("fine"), encoder=encoder)
    digest = media.sha256

    await run_generation(orchestrator, request_of(media))

    [[encoded]] = encoder.seen
    assert encoded.media_type == "x/a"
    assert encoded.sha256 is digest


@pytest.fixture
def orchestrator():
    """An orchestrator with the default probe."""
    image = {"encoder": MANIFEST.encoder.model_copy(update={"modalities": ["image"]})}
    manifest: Manifest = MANIFEST.model_copy(update=image)
    workers = Workers(ToyEncoder(), ToyLanguageModel(manifest.grammar, script_of("I see")), toy_decoders())
    return AnonymousOrchestrator(workers, manifest, DIGEST)


async def test_the_type_of_an_uploaded_picture_is_detected(orchestrator):
    artifact = await orchestrator.upload(Media("", picture_file("PNG")))

    assert (artifact.modality, artifact.media_type) == ("image", "image/png")
    assert record_of(await run_generation(orchestrator, request_of("What is this?", ArtifactName(artifact.name)))).parts


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (Media("image/png", b"just some text"), Reason.UNSUPPORTED_MEDIA_TYPE),
        (Media("audio/wav", picture_file("PNG")), Reason.UNSUPPORTED_MEDIA_TYPE),
        (Media("", picture_file("PNG")[:-40]), Reason.MEDIA_UNREADABLE),
        (Media("text/plain", b"hello"), Reason.UNSUPPORTED_MEDIA_TYPE),
    ],
    ids=["text declared as png", "png declared as wav", "truncated png", "text"],
)
async def test_media_of_a_wrong_type_and_truncated_media_are_refused(orchestrator, media, reason):
    for attempt in (orchestrator.upload(media), anext(orchestrator.generate(request_of("What is this?", media)))):
        with pytest.raises(MediaError) as caught:
            await attempt
        assert caught.value.reason is reason
