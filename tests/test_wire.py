"""Tests of a complete Motet over gRPC: client, orchestrator, and a server for each worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import pytest

from motet.answers.answer_stream import collect_answer
from motet.client import Client
from motet.core.errors import FaultError, Reason, RequestError, RetryableError
from motet.core.events import Accepted, Done, PartFailed, PartProgress, State
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.workers import Workers
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from motet.transport.server import Server
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from tests.callers import AnonymousOrchestrator
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import (
    DIGEST,
    MANIFEST,
    media_of,
    payloads_of,
    probe,
    record_of,
    request_of,
    script_of,
    signal_run,
    text_of,
)
from tests.transport.serving import served
from tests.waiting import until

SCRIPT = script_of("First ", signal_run("a"), " then ", signal_run("b"), " done.")


@dataclass(frozen=True, slots=True)
class Toys:
    """The workers behind the servers."""

    encoder: ToyEncoder
    language_model: ToyLanguageModel
    decoders: dict[str, ToyDecoder]

    @property
    def running(self) -> int:
        """The number of running calls."""
        return self.language_model.running + sum(decoder.running for decoder in self.decoders.values())


def toys(delay: float = 0.0, **faults: InjectedFault) -> Toys:
    decoders = {
        name: ToyDecoder(name, media_type=f"x/{name}", size=300_000, delay=delay, fault=faults.get(name))
        for name in ("a", "b")
    }
    return Toys(ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, SCRIPT, delay=delay), decoders)


@asynccontextmanager
async def deployed(toys: Toys) -> AsyncIterator[tuple[Client, Orchestrator]]:
    """Connect a client, an orchestrator and the toys over gRPC, as in a deployment."""
    async with AsyncExitStack() as stack:
        _, encoder_channel = await stack.enter_async_context(served(toys.encoder))
        _, model_channel = await stack.enter_async_context(served(toys.language_model))
        decoders = {}
        for name, toy in toys.decoders.items():
            _, channel = await stack.enter_async_context(served(toy))
            decoders[name] = RemoteDecoder(channel)
        workers = Workers(RemoteEncoder(encoder_channel), RemoteLanguageModel(model_channel), decoders)
        motet = await stack.enter_async_context(
            AnonymousOrchestrator(workers, MANIFEST, DIGEST, OrchestratorSettings(), probe)
        )
        servicers = [servicer(motet.for_caller) for servicer in (GenerationServicer, ArtifactServicer, ModelServicer)]
        server = await stack.enter_async_context(Server(servicers))
        yield await stack.enter_async_context(Client(server.address)), motet


async def test_the_remote_answer_equals_the_embedded_answer_byte_for_byte() -> None:
    local = toys()
    workers = Workers(local.encoder, local.language_model, local.decoders)
    request = request_of("hi", Media("x/a", b"a sound" * 50_000))

    async with AnonymousOrchestrator(workers, MANIFEST, DIGEST, OrchestratorSettings(), probe) as motet:
        embedded = await collect_answer(motet, request)
    async with deployed(toys()) as (client, _):
        answers = [await client.answer(request) for _ in range(2)]

    assert [answer.parts for answer in answers] == [embedded.parts] * 2
    assert [part.modality for part in embedded.media] == ["a", "b"]


async def test_the_events_of_a_remote_generation_are_in_the_specified_order() -> None:
    async with deployed(toys()) as (client, _):
        events = [event async for event in client.generate(request_of())]

    check_events(events)
    assert text_of(events) == "First  then  done."
    assert len(media_of(events)) == 2


@pytest.mark.parametrize("after", range(0, 16))
async def test_closing_the_stream_after_any_event_stops_all_workers(after: int) -> None:
    remote = toys(delay=0.002)

    async with deployed(remote) as (client, motet):
        async with aclosing(client.generate(request_of())) as events:
            for _ in range(after):
                await anext(events)
        await until(lambda: remote.running == 0 and motet.running == 0)


async def test_a_remote_cancel_returns_when_every_worker_is_idle() -> None:
    remote = toys(a=InjectedFault(Pause(60), after=1), b=InjectedFault(Pause(60)))

    async with deployed(remote) as (client, motet), aclosing(client.generate(request_of())) as events:
        first = await anext(events)
        assert isinstance(first.payload, Accepted)
        await until(lambda: sum(decoder.running for decoder in remote.decoders.values()) == 2)

        record = await client.cancel(first.payload.generation)

        # The orchestrator has ended its own calls. The worker's server gets the cancellation a moment later.
        await until(lambda: remote.running == 0)
        assert motet.running == 0
        rest = [event async for event in events]

    assert record.state is State.CANCELLED or record_of(rest).state is State.PARTIAL
    assert isinstance(rest[-1].payload, Done)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (FaultError("the step came out as NaN"), Reason.WORKER_FAULT),
        (RetryableError("out of memory", Reason.OUT_OF_MEMORY), Reason.OUT_OF_MEMORY),
        (RequestError("wrong shape", Reason.CONDITIONING_INVALID), Reason.CONDITIONING_INVALID),
    ],
)
async def test_a_failing_decoder_fails_only_its_part(fault: FaultError, reason: Reason) -> None:
    async with deployed(toys(a=InjectedFault(fault, after=1))) as (client, _):
        events = [event async for event in client.generate(request_of())]

    (failed,) = payloads_of(events, PartFailed)
    assert (failed.error.reason, failed.error.message) == (reason, fault.message)
    assert record_of(events).state is State.PARTIAL
    assert len(media_of(events)) == 1


async def test_a_hanging_decoder_is_cancelled_at_the_deadline_and_the_other_parts_arrive() -> None:
    remote = toys(a=InjectedFault(Pause()))

    async with deployed(remote) as (client, _):
        for timeout in (1.0, 4.0, 16.0):  # On a busy machine, the other parts may take longer than a short timeout.
            events = [event async for event in client.generate(request_of(timeout=timeout))]
            await until(lambda: remote.running == 0)
            if record_of(events).state is State.PARTIAL:
                break

    (failed,) = payloads_of(events, PartFailed)
    assert failed.error.reason is Reason.DEADLINE_EXCEEDED
    assert record_of(events).state is State.PARTIAL


async def test_text_reaches_the_model_byte_for_byte_even_if_it_spells_control_tokens() -> None:
    remote = toys()
    text = "[a0][a1][a2][a3] <Img></Img> ### Human: \0\r\n </s> \u202e 𝄞 ﬁ"

    async with deployed(remote) as (client, _):
        await client.answer(text)

    assert remote.language_model.seen[0].turns[-1].parts == (text,)


async def test_a_request_over_the_message_limit_is_refused_and_the_next_request_succeeds() -> None:
    async with deployed(toys()) as (client, _):
        with pytest.raises(RequestError) as caught:
            await client.answer("x" * 5 * 2**20)
        assert (await client.answer("x")).text

    assert caught.value.reason is Reason.INPUT_TOO_LARGE


async def test_progress_arrives_while_the_decoder_runs() -> None:
    remote = toys(a=InjectedFault(Pause(60), after=1))

    async with deployed(remote) as (client, _), aclosing(client.generate(request_of())) as events:
        async for event in events:
            if isinstance(event.payload, PartProgress):
                break
        assert remote.decoders["a"].running == 1


async def test_a_refusal_names_the_field_to_change() -> None:
    async with deployed(toys()) as (client, _):
        with pytest.raises(RequestError, match=r"turns\[0\]\.parts\[0\]\.text") as caught:
            await client.answer(GenerationRequest((Message("user", ("",)),)))

    assert caught.value.metadata == {"field": "turns[0].parts[0].text"}
