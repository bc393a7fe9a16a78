"""What is asked wrongly is refused before anything is done for it, and the refusal says what to change."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from motet.core.bundle import Manifest
from motet.core.errors import MediaError, Reason, RequestError
from motet.core.media import Media
from motet.core.request import ArtifactName, DecoderOptions, GenerationRequest, Message
from motet.core.workers import Workers
from motet.toys.workers import ToyEncoder, ToyLanguageModel
from orchestrator.orchestrator import Orchestrator
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

MANY = [Media("x/a", b"a")] * 33
REFUSED = {
    "an empty prompt": (request_of(""), Reason.INVALID_REQUEST, "prompt is empty"),
    "a blank prompt": (request_of(" \n\t", "\u2003"), Reason.INVALID_REQUEST, "prompt is empty"),
    "no part at all": (GenerationRequest((Message("user", ()),)), Reason.INVALID_REQUEST, "prompt is empty"),
    "no turn at all": (GenerationRequest(()), Reason.INVALID_REQUEST, "last turn must be the user's"),
    "an assistant's last word": (
        GenerationRequest((Message("user", ("hi",)), Message("assistant", ("ho",)))),
        Reason.INVALID_REQUEST,
        "last turn must be the user's",
    ),
    "another model": (request_of(model="huge"), Reason.MODEL_NOT_FOUND, "ask for 'toy'"),
    "a modality nobody makes": (
        request_of(allowed_modalities=frozenset({"smell"})),
        Reason.MODALITY_NOT_SUPPORTED,
        "a, b",
    ),
    "a limit on nothing": (request_of(max_parts={"smell": 1}), Reason.MODALITY_NOT_SUPPORTED, "a, b"),
    "options of nothing": (
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
    "too much media": (request_of(*MANY), Reason.LIMIT_EXCEEDED, "32"),
    "a novel": (request_of("\u00fc" * 131_073), Reason.INPUT_TOO_LARGE, "262144"),
    "half a character": (request_of("\ud800"), Reason.INVALID_REQUEST, "surrogate"),
    "media nobody reads": (request_of(Media("x/z", b"?")), Reason.MODALITY_NOT_SUPPORTED, "does not read 'z'"),
    "media that are not there": (
        request_of(ArtifactName("artifacts/none")),
        Reason.ARTIFACT_NOT_FOUND,
        "upload it again",
    ),
    "a negative seed": (request_of(seed=-1), Reason.INVALID_REQUEST, "seed"),
    "too large a seed": (request_of(seed=2**64), Reason.INVALID_REQUEST, "seed"),
    "too hot": (request_of(temperature=5.1), Reason.INVALID_REQUEST, "temperature"),
    "no number": (request_of(temperature=math.nan), Reason.INVALID_REQUEST, "temperature"),
    "too likely": (request_of(top_p=1.1), Reason.INVALID_REQUEST, "top_p"),
    "no tokens": (request_of(max_output_tokens=0), Reason.INVALID_REQUEST, "max_output_tokens"),
    "less than no parts": (request_of(max_parts={"a": -1}), Reason.INVALID_REQUEST, "max_parts of a"),
    "no time": (request_of(timeout=0.0), Reason.INVALID_REQUEST, "timeout"),
    "no time at all": (request_of(timeout=math.nan), Reason.INVALID_REQUEST, "timeout"),
    "too many steps": (request_of(decoder_options={"a": DecoderOptions(1001)}), Reason.INVALID_REQUEST, "steps of a"),
    "too few steps": (
        request_of(decoder_options={"a": DecoderOptions(min_steps=0)}),
        Reason.INVALID_REQUEST,
        "least steps of a",
    ),
    "too urgent": (request_of(priority=3), Reason.INVALID_REQUEST, "priority must be from -2 to 2"),
    "too long a name": (request_of(tenant="t" * 65), Reason.LIMIT_EXCEEDED, "64"),
    "too little guidance": (
        request_of(decoder_options={"a": DecoderOptions(guidance=0.5)}),
        Reason.INVALID_REQUEST,
        "guidance of a",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_served_is_refused_with_its_reason_and_starts_nothing(case):
    request, reason, words = REFUSED[case]
    encoder, model = ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, script_of("x"))
    orchestrator = orchestrator_of(model, encoder=encoder)

    with pytest.raises(RequestError) as caught:
        await anext(orchestrator.generate(request))

    assert caught.value.reason is reason
    assert words in caught.value.message
    assert not encoder.seen
    assert not model.seen
    assert await orchestrator.generations() == ([], "")


async def test_what_is_at_the_limits_is_served():
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


async def test_limits_over_the_servers_own_are_lowered_to_them():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x"))

    orchestrator = orchestrator_of(model, max_parts_each=3, max_output_tokens=40, max_priority=1)
    await run_generation(orchestrator, request_of(max_parts={"a": 9}, max_output_tokens=4000, priority=2))

    assert dict(model.seen[0].ceilings) == {"a": 3, "b": 3}
    assert model.seen[0].priority == 1
    assert model.seen[0].max_tokens == 40


async def test_one_piece_of_media_and_all_together_may_not_be_too_large():
    small = Media("x/a", bytes(60))
    for request in (request_of(Media("x/a", bytes(101))), request_of(small, small, small)):
        with pytest.raises(RequestError) as caught:
            await anext(orchestrator_of(max_media_bytes=100, max_input_bytes=150).generate(request))
        assert caught.value.reason is Reason.INPUT_TOO_LARGE


async def test_media_alone_are_a_prompt():
    assert record_of(
        await run_generation(orchestrator_of(script_of("I see")), request_of(Media("x/a", b"a thing")))
    ).parts


@pytest.fixture
def real():
    """An orchestrator that looks at media as a real one does."""
    image = {"encoder": MANIFEST.encoder.model_copy(update={"modalities": ["image"]})}
    manifest: Manifest = MANIFEST.model_copy(update=image)
    workers = Workers(ToyEncoder(), ToyLanguageModel(manifest.grammar, script_of("I see")), toy_decoders())
    return Orchestrator(workers, manifest, DIGEST)


async def test_a_real_picture_is_recognised(real):
    artifact = await real.upload(Media("", picture_file("PNG")))

    assert (artifact.modality, artifact.media_type) == ("image", "image/png")
    assert record_of(await run_generation(real, request_of("What is this?", ArtifactName(artifact.name)))).parts


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (Media("image/png", b"just some text"), Reason.UNSUPPORTED_MEDIA_TYPE),
        (Media("audio/wav", picture_file("PNG")), Reason.UNSUPPORTED_MEDIA_TYPE),
        (Media("", picture_file("PNG")[:-40]), Reason.MEDIA_UNREADABLE),
        (Media("text/plain", b"hello"), Reason.UNSUPPORTED_MEDIA_TYPE),
    ],
    ids=["text named png", "a picture called a sound", "half a picture", "text"],
)
async def test_media_that_are_not_what_they_should_be_are_refused(real, media, reason):
    for attempt in (real.upload(media), anext(real.generate(request_of("What is this?", media)))):
        with pytest.raises(MediaError) as caught:
            await attempt
        assert caught.value.reason is reason
