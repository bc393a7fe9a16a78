"""Tests of the isolation of tenants: names of another tenant are like names that do not exist."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from motet.core.caller import ANONYMOUS, Caller, Role
from motet.core.errors import AccessError, MotetError, Reason, RequestError
from motet.core.events import Accepted, PartFailed, State
from motet.core.media import Media
from motet.core.request import ArtifactName
from motet.core.service import Motet
from motet.toys.workers import ToyDecoder, ToyEncoder
from tests.orchestrator.edges import edge_orchestrator
from tests.orchestrator.pipeline_harness import (
    MODALITIES,
    media_of,
    modalities_of,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
    wait_idle,
)

OWN = Caller("own", frozenset(Role))
FOREIGN = Caller("foreign", frozenset(Role))
SCRIPT = script_of("An a: ", signal_run("a"))
UPLOAD = Media("x/a", b"a thing")


async def watch(motet: Motet, name: str) -> None:
    [event async for event in motet.watch(name)]


async def download(motet: Motet, name: str) -> bytes:
    return b"".join([chunk async for chunk in motet.download(name)])


async def attach(motet: Motet, name: str) -> None:
    await run_generation(motet, request_of(ArtifactName(name)))


async def mention(motet: Motet, name: str) -> None:
    """Name an artifact in a turn of the assistant."""
    request = request_of("hello")
    turns = (replace(request.turns[0], role="assistant", parts=(ArtifactName(name),)), *request.turns)
    await run_generation(motet, replace(request, turns=turns))


Call = Callable[[Motet, str], Awaitable[Any]]
GENERATION_CALLS: dict[str, Call] = {
    "get": lambda motet, name: motet.get(name),
    "cancel": lambda motet, name: motet.cancel(name),
    "watch": watch,
}
ARTIFACT_CALLS: dict[str, Call] = {
    "download": download,
    "delete": lambda motet, name: motet.delete(name),
    "attach": attach,
    "mention": mention,
}


async def outcome_of(call: Call, motet: Motet, name: str) -> tuple[Any, ...]:
    """Return the error of a call without the name, and the names of all our functions that the call ran, in order."""
    functions: list[str] = []

    def record(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and str(frame.f_globals.get("__name__")).startswith(("motet.", "orchestrator.")):
            functions.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_qualname}")

    error: MotetError | None = None
    sys.setprofile(record)
    try:
        await call(motet, name)
    except MotetError as caught:
        error = caught
    finally:
        sys.setprofile(None)
    if error is None:
        return None, functions
    metadata = {key: value.replace(name, "NAME") for key, value in error.metadata.items()}
    return type(error), error.reason, error.message.replace(name, "NAME"), metadata, functions


@pytest.mark.parametrize("method", GENERATION_CALLS)
async def test_a_generation_of_another_tenant_is_like_one_that_does_not_exist(method: str) -> None:
    orchestrator = orchestrator_of(SCRIPT)
    own, foreign = orchestrator.for_caller(OWN), orchestrator.for_caller(FOREIGN)
    name = record_of(await run_generation(own)).name
    await run_generation(foreign)
    call = GENERATION_CALLS[method]

    outcomes = [await outcome_of(call, foreign, each) for each in (name, f"generations/{'0' * 32}", name)]

    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1] is Reason.GENERATION_NOT_FOUND
    assert (await own.get(name)).state is State.SUCCEEDED


@pytest.mark.parametrize("method", ARTIFACT_CALLS)
async def test_an_artifact_of_another_tenant_is_like_one_that_does_not_exist(method: str) -> None:
    orchestrator = orchestrator_of(SCRIPT)
    own, foreign = orchestrator.for_caller(OWN), orchestrator.for_caller(FOREIGN)
    name = (await own.upload(UPLOAD)).name
    await foreign.upload(UPLOAD)
    call = ARTIFACT_CALLS[method]

    outcomes = [await outcome_of(call, foreign, each) for each in (name, f"artifacts/{'0' * 32}", name)]

    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert outcomes[0][1] is Reason.ARTIFACT_NOT_FOUND or (method == "delete" and outcomes[0][0] is None)
    assert await download(own, name) == UPLOAD.data


async def test_media_of_an_answer_are_the_tenants_own() -> None:
    orchestrator = orchestrator_of(SCRIPT)
    own, foreign = orchestrator.for_caller(OWN), orchestrator.for_caller(FOREIGN)
    events = await run_generation(own)
    (artifact,) = [part.artifact for part in record_of(events).parts if part.artifact]

    assert await download(own, artifact.name) == media_of(events)["part-1"]
    for motet in (foreign, orchestrator.for_caller(ANONYMOUS)):
        with pytest.raises(MotetError) as caught:
            await download(motet, artifact.name)
        assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND


async def test_no_step_takes_an_artifact_of_another_tenant_as_its_input() -> None:
    orchestrator = edge_orchestrator()
    own, foreign = orchestrator.for_caller(OWN), orchestrator.for_caller(FOREIGN)
    name = ArtifactName((await own.upload(Media("x/a", b"a picture"))).name)

    assert modalities_of(await run_generation(own, request_of(name, "c"))) == ["c"]
    with pytest.raises(MotetError) as caught:
        await run_generation(foreign, request_of(name, "c"))

    assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND


async def test_a_list_has_only_the_tenants_own_generations() -> None:
    orchestrator = orchestrator_of(script_of("fine"))
    tenants = {name: orchestrator.for_caller(Caller(name, frozenset(Role))) for name in ("a", "b", "c")}
    started: dict[str, list[str]] = {name: [] for name in tenants}
    for name in "abbacba":
        started[name].append(record_of(await run_generation(tenants[name])).name)

    for name, motet in tenants.items():
        listed, token = [], ""
        while not listed or token:
            page, token = await motet.generations(2, token)
            listed += [record.name for record in page]
        assert listed == started[name][::-1]


async def test_a_page_token_of_another_tenant_is_refused() -> None:
    orchestrator = orchestrator_of(script_of("fine"))
    own, foreign = orchestrator.for_caller(OWN), orchestrator.for_caller(FOREIGN)
    for motet in (own, own, foreign, foreign):
        await run_generation(motet)
    _, token = await own.generations(1)

    with pytest.raises(RequestError, match="page token"):
        await foreign.generations(1, token)
    assert len((await own.generations(1, token))[0]) == 1


async def test_a_request_id_is_unique_for_one_tenant_only() -> None:
    orchestrator = orchestrator_of(script_of("fine"))
    request = request_of(request_id=str(uuid4()))
    callers = [OWN, FOREIGN, ANONYMOUS]

    answers = [await run_generation(orchestrator.for_caller(caller), request) for caller in callers]
    other = await run_generation(orchestrator.for_caller(FOREIGN), request)
    anonymous = orchestrator.for_caller(ANONYMOUS)
    named = [await run_generation(anonymous, replace(request, tenant=name)) for name in ("own", "a")]

    flags = [payloads_of(events, Accepted)[0].deduplicated for events in [*answers, other, *named]]
    assert flags == [False, False, False, True, False, False]
    with pytest.raises(RequestError) as caught:
        await run_generation(orchestrator.for_caller(OWN), replace(request, seed=99))
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert (await orchestrator.for_caller(OWN).get(record_of(answers[0]).name)).name == record_of(answers[0]).name


async def test_the_tenant_of_an_authenticated_caller_replaces_the_tenant_of_its_request() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    for caller in (OWN, ANONYMOUS):
        await run_generation(orchestrator.for_caller(caller), request_of(tenant="foreign"))

    assert [job.tenant for job in toy.seen] == ["own", "foreign"]


async def test_no_tenant_gets_cached_media_of_another_tenant_and_all_get_the_same_bytes() -> None:
    toy = ToyDecoder("a")
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    answers = [await run_generation(orchestrator.for_caller(caller)) for caller in (OWN, FOREIGN, OWN)]

    assert [job.tenant for job in toy.seen] == ["own", "foreign"]
    assert len({media_of(events)["part-1"] for events in answers}) == 1


async def test_a_tenant_does_not_join_the_running_job_of_another_tenant() -> None:
    toy = ToyDecoder("a", delay=0.01)
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=toy))

    await asyncio.gather(*(run_generation(orchestrator.for_caller(caller)) for caller in (OWN, FOREIGN, OWN)))

    assert sorted(job.tenant for job in toy.seen) == ["foreign", "own"]


async def test_every_worker_learns_the_tenant_of_an_authenticated_caller() -> None:
    encoder, toy, prompts = ToyEncoder(), ToyDecoder("a"), []

    def script(prompt: Any) -> Any:
        prompts.append(prompt)
        return SCRIPT

    orchestrator = orchestrator_of(script, toy_decoders(a=toy), encoder=encoder)
    await run_generation(orchestrator.for_caller(OWN), request_of("hi", UPLOAD, tenant="foreign"))

    assert [*(tenant for tenant, _ in encoder.callers), prompts[0].tenant, toy.seen[0].tenant] == ["own"] * 3


async def test_a_caller_gets_only_media_that_its_credentials_permit() -> None:
    orchestrator = orchestrator_of(script_of(signal_run("a"), signal_run("b")))
    motet = orchestrator.for_caller(replace(OWN, modalities=frozenset({"a", "of another model"})))

    failures = payloads_of(await run_generation(motet, request_of()), PartFailed)
    with pytest.raises(AccessError) as caught:
        await run_generation(motet, request_of(allowed_modalities=frozenset(MODALITIES)))

    assert [failure.error.reason for failure in failures] == [Reason.MODALITY_NOT_ALLOWED]
    assert (caught.value.reason, caught.value.metadata) == (Reason.MODALITY_NOT_PERMITTED, {"modality": "b"})
    (model,) = await motet.models()
    assert [output.modality for output in model.outputs] == ["a"]
    text = await run_generation(motet, request_of(allowed_modalities=frozenset({"text"})))
    assert {failure.error.reason for failure in payloads_of(text, PartFailed)} == {Reason.MODALITY_NOT_ALLOWED}


@pytest.mark.parametrize("model", ["", "toy", "another"])
async def test_a_caller_gets_only_models_that_its_credentials_permit(model: str) -> None:
    orchestrator = orchestrator_of(script_of("fine"))
    motet = orchestrator.for_caller(replace(OWN, models=frozenset({"of another server"})))

    with pytest.raises(AccessError) as caught:
        await run_generation(motet, request_of(model=model))

    assert caught.value.reason is Reason.MODEL_NOT_PERMITTED
    assert await motet.models() == []
    assert await orchestrator.for_caller(replace(OWN, models=frozenset({"toy"}))).models() != []


@pytest.mark.parametrize(("requested", "highest", "expected"), [(2, 0, 0), (-1, 0, -1), (1, 2, 1), (0, -2, -2)])
async def test_a_priority_above_the_callers_maximum_is_lowered(requested: int, highest: int, expected: int) -> None:
    toy = ToyDecoder("a")
    motet = orchestrator_of(SCRIPT, toy_decoders(a=toy)).for_caller(replace(OWN, max_priority=highest))

    await run_generation(motet, request_of(priority=requested))

    assert toy.seen[0].priority == expected


async def test_ten_thousand_probes_of_other_tenants_find_nothing() -> None:
    drawn = random.Random(5)
    orchestrator = orchestrator_of(SCRIPT)
    tenants = [orchestrator.for_caller(Caller(f"tenant-{number}", frozenset(Role))) for number in range(4)]
    request_id = str(UUID(int=drawn.getrandbits(128)))
    generations, artifacts, tokens = [], [], []
    for number, motet in enumerate(tenants):
        events = [await run_generation(motet, request_of(seed=number, request_id=request_id)) for _ in range(2)]
        await run_generation(motet)
        assert [payloads_of(each, Accepted)[0].deduplicated for each in events] == [False, True]
        generations.append(record_of(events[0]).name)
        artifacts.append((await motet.upload(UPLOAD)).name)
        tokens.append((await motet.generations(1))[1])
    probes: list[tuple[Call, list[str], Reason]] = [
        *((call, generations, Reason.GENERATION_NOT_FOUND) for call in GENERATION_CALLS.values()),
        (download, artifacts, Reason.ARTIFACT_NOT_FOUND),
        (attach, artifacts, Reason.ARTIFACT_NOT_FOUND),
        (lambda motet, token: motet.generations(1, token), tokens, Reason.INVALID_REQUEST),
    ]

    leaks = 0
    for number in range(10_000):
        prober, victim = drawn.sample(range(4), 2)
        call, names, reason = probes[number % len(probes)]
        try:
            await call(tenants[prober], names[victim])
            leaks += 1
        except MotetError as error:
            leaks += error.reason is not reason or f"tenant-{victim}" in error.message
        await tenants[prober].delete(artifacts[victim])

    assert leaks == 0
    for motet, generation, artifact in zip(tenants, generations, artifacts, strict=True):
        assert (await motet.get(generation)).state is State.SUCCEEDED
        assert await download(motet, artifact) == UPLOAD.data


async def test_a_tenant_with_many_ended_generations_removes_only_its_own() -> None:
    orchestrator = orchestrator_of(SCRIPT, max_results=3)
    modest, greedy = (orchestrator.for_caller(caller) for caller in (OWN, FOREIGN))
    name = record_of(await run_generation(modest)).name
    for _ in range(5):
        await run_generation(greedy)
    await wait_idle(orchestrator)

    assert (await modest.get(name)).state is State.SUCCEEDED
    assert len((await greedy.generations())[0]) == 2
