"""Tests of parts that are made from other media: earlier parts of the answer, and media of the conversation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256

import pytest

from motet.core.errors import NotFoundError, Reason
from motet.core.events import PartDone, PartStarted, PlanGrown, PlanInput, State
from motet.core.media import MEBI, Media
from motet.core.request import ArtifactName, Message
from motet.core.workers import NOT_ENCODED, Embedding
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from tests.orchestrator.edges import EDGES, edge_decoders, edge_orchestrator, plan_of
from tests.orchestrator.pipeline_harness import (
    media_of,
    modalities_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    text_of,
    wait_idle,
)
from tests.waiting import in_virtual_time

PICTURE, SOUND, CLIP = Media("x/a", b"picture"), Media("x/b", b"sound"), Media("x/v", b"clip")


def inputs_of(decoder):
    """Return the bytes of the inputs of each job of a toy decoder."""
    return [[media.data for media in job.inputs] for job in decoder.seen]


def nodes_of(events):
    """Return the inputs of each planned part, by modality."""
    return {node.modality: node.inputs for node in payloads_of(events, PlanGrown)[-1].nodes}


def artifacts_of(events):
    """Return the artifact of each complete media part, by modality."""
    return {done.artifact.modality: done.artifact for done in payloads_of(events, PartDone) if done.artifact}


def conversation(*turns):
    """Return a request whose turns are by the user and by the assistant, alternately."""
    roles = ("user", "assistant")
    return replace(request_of(), turns=tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns)))


async def test_a_part_takes_the_media_of_earlier_parts_in_the_order_of_its_slots():
    decoders = edge_decoders()

    events = await run_generation(edge_orchestrator(decoders), request_of("abcd"))

    media = media_of(events)
    a, b, c, _ = media
    assert record_of(events).state is State.SUCCEEDED
    assert inputs_of(decoders["c"]) == [[media[a]]]
    assert inputs_of(decoders["d"]) == [[media[b], media[c]]]
    assert nodes_of(events)["d"] == (PlanInput("b", part_id=b), PlanInput("c", part_id=c))
    assert payloads_of(events, PlanGrown)[-1].nodes[-1].depends_on == (b, c)


async def test_a_slot_takes_the_nearest_earlier_part_and_never_a_later_one():
    decoders = edge_decoders()

    events = await run_generation(edge_orchestrator(decoders), request_of("aacaca"))

    media = media_of(events)
    pictures = [media[part.part_id] for part in payloads_of(events, PartStarted) if part.modality == "a"]
    assert sorted(inputs_of(decoders["c"])) == sorted([[pictures[1]], [pictures[2]]])


@in_virtual_time
async def test_each_part_starts_when_its_inputs_are_there_while_the_model_still_writes():
    decoders = {name: ToyDecoder(name, media_type=f"x/{name}", steps=1, delay=1.0) for name in "abcd"}
    slow = edge_orchestrator(decoders, script=lambda prompt: [*plan_of(prompt), Pause(10.0), ord("-")])
    clock, times = asyncio.get_running_loop().time, {}

    async with aclosing(slow.generate(request_of("abcd"))) as events:
        async for event in events:
            if isinstance(event.payload, PartDone) and event.payload.artifact:
                times[event.payload.artifact.modality] = clock()
        assert clock() >= 10.0
    await wait_idle(slow)

    assert times == pytest.approx({"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0}, abs=0.05)


async def test_a_slot_without_an_earlier_part_takes_the_newest_medium_of_the_conversation():
    decoders = edge_decoders()
    orchestrator = edge_orchestrator(decoders)
    old = Media("x/a", b"old")

    events = await run_generation(orchestrator, conversation((old, SOUND), ("-", PICTURE), ("cd",)))

    assert inputs_of(decoders["c"]) == [[PICTURE.data]]
    assert inputs_of(decoders["d"])[0][0] == SOUND.data
    (source,) = nodes_of(events)["c"]
    assert source.modality == "a"
    assert b"".join([chunk async for chunk in orchestrator.download(source.artifact)]) == PICTURE.data


async def test_an_attached_medium_that_many_parts_take_is_stored_once():
    orchestrator = edge_orchestrator(max_parts_per_modality=16)

    events = await run_generation(orchestrator, request_of(PICTURE, "c" * 16))

    assert record_of(events).state is State.SUCCEEDED
    assert len({node.inputs for node in payloads_of(events, PlanGrown)[-1].nodes}) == 1
    assert len(record_of(events).parts) == 16


async def test_an_attached_medium_that_no_part_takes_is_not_stored():
    orchestrator = edge_orchestrator()

    await run_generation(orchestrator, request_of(PICTURE, "-"))

    assert orchestrator._artifacts.size_bytes == 0


async def test_artifacts_of_both_roles_are_taken_under_their_own_names():
    decoders = edge_decoders()
    orchestrator = edge_orchestrator(decoders)
    made = artifacts_of(await run_generation(orchestrator, request_of("ac")))
    large = await orchestrator.upload(Media("x/b", bytes(20 * MEBI)))

    events = await run_generation(
        orchestrator, conversation(("-",), (ArtifactName(made["c"].name),), (ArtifactName(large.name), "d"))
    )

    assert nodes_of(events)["d"] == (PlanInput("b", artifact=large.name), PlanInput("c", artifact=made["c"].name))
    digests = [sha256(data).digest() for data in inputs_of(decoders["d"])[-1]]
    assert digests == [large.sha256, made["c"].sha256]


async def test_a_medium_that_no_decoder_makes_can_be_attached_for_a_slot():
    decoders = edge_decoders()

    events = await run_generation(edge_orchestrator(decoders), request_of(CLIP, "bd"))

    assert inputs_of(decoders["d"])[0][1] == CLIP.data
    assert nodes_of(events)["d"][1].modality == "v"


async def test_an_artifact_that_the_encoder_does_not_read_by_name_is_encoded_by_its_type():
    encoder, decoders = ToyEncoder(), edge_decoders(c=ToyDecoder("c", media_type="video/mp4"))
    model = ToyLanguageModel(EDGES.grammar, plan_of)
    manifest = EDGES.model_copy(
        update={"encoder": EDGES.encoder.model_copy(update={"modalities": ["a", "b", "video"]})}
    )
    orchestrator = edge_orchestrator(decoders, script=model, encoder=encoder, manifest=manifest)
    made = artifacts_of(await run_generation(orchestrator, request_of("ac")))["c"]

    events = await run_generation(orchestrator, request_of(SOUND, ArtifactName(made.name), "d"))

    assert [part.modality for part in model.seen[-1].turns[0].parts if isinstance(part, Embedding)] == ["b", "video"]
    assert nodes_of(events)["d"][1] == PlanInput("c", artifact=made.name)


async def test_the_assistants_own_media_stay_signals_in_the_prompt():
    model = ToyLanguageModel(EDGES.grammar, plan_of)
    orchestrator = edge_orchestrator(script=model)
    made = artifacts_of(await run_generation(orchestrator, request_of("ac")))["c"]

    await run_generation(orchestrator, conversation(("-",), (ArtifactName(made.name),), (SOUND, "d")))

    assert model.seen[-1].turns[1].parts == (Embedding("c", NOT_ENCODED),)


@pytest.mark.parametrize(("plan", "takes"), [("bc-", "a"), ("acd-", "b"), ("bd-", "c,v"), ("bca-", "a")])
async def test_a_signal_with_nothing_to_take_fails_its_part_and_no_other(plan, takes):
    events = await run_generation(edge_orchestrator(), request_of(plan))

    (failure,) = record_of(events).failures
    assert failure.error.reason is Reason.INPUT_MISSING
    assert failure.error.metadata["takes"] == takes
    assert "attach" in failure.error.message
    assert not failure.retryable
    assert len(media_of(events)) == len(plan) - 2
    assert text_of(events) == "-"
    assert record_of(events).state is State.PARTIAL


async def test_a_part_that_was_refused_is_not_taken():
    decoders = edge_decoders()

    events = await run_generation(edge_orchestrator(decoders), request_of(PICTURE, "aca", max_parts={"a": 0}))

    assert inputs_of(decoders["c"]) == [[PICTURE.data]]
    assert {failure.error.reason for failure in record_of(events).failures} == {Reason.LIMIT_EXCEEDED}


async def test_a_ceiling_counts_parts_that_are_made_from_others():
    events = await run_generation(edge_orchestrator(), request_of("acccb", max_parts={"c": 2}))

    (failure,) = record_of(events).failures
    assert failure.error.reason is Reason.LIMIT_EXCEEDED
    assert modalities_of(events).count("c") == 3


async def test_the_provenance_names_the_digests_of_the_inputs_in_order():
    events = await run_generation(edge_orchestrator(), request_of(SOUND, "acd"))

    made = {modality: artifact.sha256.hex() for modality, artifact in artifacts_of(events).items()}
    provenance = {done.artifact.modality: done.provenance for done in payloads_of(events, PartDone) if done.artifact}
    assert "inputs" not in provenance["a"]
    assert provenance["c"]["inputs"] == made["a"]
    assert provenance["d"]["inputs"] == f"{SOUND.sha256.hex()},{made['c']}"


async def test_the_same_request_makes_the_same_bytes_with_edges():
    first = await run_generation(edge_orchestrator(), request_of("abcdcd"))
    second = await run_generation(edge_orchestrator(media_cache_bytes=0), request_of("abcdcd"))

    assert media_of(first) == media_of(second)
    assert len(media_of(first)) == 6


async def test_a_job_with_other_inputs_is_no_cache_hit():
    decoders = edge_decoders()
    orchestrator = edge_orchestrator(decoders)
    for picture in (b"one", b"two", b"one"):
        await run_generation(orchestrator, request_of(Media("x/a", picture), "c"))

    assert sorted(inputs_of(decoders["c"])) == [[b"one"], [b"two"]]


async def test_an_artifact_of_the_assistant_that_expired_refuses_the_request():
    orchestrator = edge_orchestrator()
    made = artifacts_of(await run_generation(orchestrator, request_of("a")))["a"]
    await orchestrator.delete(made.name)

    with pytest.raises(NotFoundError):
        await run_generation(orchestrator, conversation(("-",), (ArtifactName(made.name),), ("c",)))


async def test_an_artifact_that_is_removed_during_the_answer_can_still_be_taken():
    decoders, gate = edge_decoders(), Pause(0.01)
    orchestrator = edge_orchestrator(decoders, script=lambda prompt: [ord("-"), gate, *plan_of(prompt)])
    upload = await orchestrator.upload(Media("x/a", b"uploaded"))

    async with aclosing(orchestrator.generate(conversation(("-",), (ArtifactName(upload.name),), ("c",)))) as events:
        await anext(events)
        await orchestrator.delete(upload.name)
        assert [event async for event in events]
    await wait_idle(orchestrator)

    assert inputs_of(decoders["c"]) == [[b"uploaded"]]
