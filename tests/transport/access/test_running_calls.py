"""Tests of running calls whose credentials are revoked, expire or lose their permissions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest

from motet.client import Client
from motet.core.caller import Role
from motet.core.errors import AccessError, MotetError, Reason
from motet.core.events import Accepted, Event, State
from motet.core.media import Media
from motet.toys.workers import Pause
from motet.transport import convert
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.channel import open_channel
from motet.transport.client_call import _PeerStatus
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import generation_service_pb2 as generation_pb
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.callers import for_anyone
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of
from tests.scripted_motet import ScriptedMotet
from tests.transport.access.keys import NOW, KeyRing, bearer
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider, ProviderKeys
from tests.waiting import until

INTERVAL = 0.02
LARGE = Media("x/a", bytes(8 * 2**20))
_GENERATIONS, _ARTIFACTS = "/motet.v1.GenerationService", "/motet.v1.ArtifactService"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Deployment:
    """An orchestrator whose generations have no end, with a short interval of its checks."""

    def __init__(self) -> None:
        self.keys = KeyRing()
        self.provider = Provider()
        self.tokens = JsonWebTokens(TokenRules(ISSUER, AUDIENCE), ProviderKeys(self.provider))

    async def start(self, stack: AsyncExitStack) -> None:
        self.orchestrator = await stack.enter_async_context(orchestrator_of(script_of("Wait.", Pause())))
        servicers = [GenerationServicer(self.orchestrator.for_caller), ArtifactServicer(self.orchestrator.for_caller)]
        authentication = self.keys.authentication(self.tokens)
        self.server = await stack.enter_async_context(
            Server(servicers, authentication=authentication, recheck_interval=INTERVAL, reflection=True)
        )
        self.channel = await stack.enter_async_context(open_channel(self.server.address, retries=False))
        self.stack = stack

    async def client(self, token: str) -> Client:
        """Return a client with a key or a token."""
        return await self.stack.enter_async_context(Client(self.server.address, metadata=dict(bearer(token))))

    async def open(self, path: str, request: Any, key: str) -> grpc.aio.Call:
        """Start a call that has no end, and wait until it runs."""
        metadata = (*bearer(key), ("x-request-id", path.rpartition("/")[2]))
        running = self.running
        if isinstance(request, list):
            create = self.channel.stream_unary if path.endswith("UploadArtifact") else self.channel.stream_stream
            call = create(path)(frames(request), metadata=metadata)
        else:
            call = self.channel.unary_stream(path)(request.SerializeToString(), metadata=metadata)
        await until(lambda: self.running == running + 1)
        return call

    @property
    def running(self) -> int:
        """Number of calls whose handler runs."""
        return len(self.server._interceptor._running)

    def revoke(self, key: str, **changes: Any) -> None:
        """Revoke a key, or change its record."""
        record = self.keys.records[key.split("_")[1]]
        self.keys.records[record.id] = record.model_copy(update=changes or {"revoke_time": NOW})


async def frames(first: list[bytes]) -> AsyncIterator[bytes]:
    """Yield messages, and then none, but do not end."""
    for frame in first:
        yield frame
    await asyncio.Event().wait()


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        deployment = Deployment()
        await deployment.start(stack)
        yield deployment


def name_of(event: Event) -> str:
    """Return the name of the generation in its first event."""
    assert isinstance(event.payload, Accepted)
    return event.payload.generation


async def detached(client: Client) -> str:
    """Start a detached generation, and return its name."""
    async with aclosing(client.generate(request_of(detach=True))) as events:
        async for event in events:
            return name_of(event)
    raise AssertionError


async def error_of(call: Any) -> tuple[grpc.StatusCode, Reason]:
    """Read a call to its end. Return its status code and the reason of its error."""
    status = _PeerStatus(call)
    try:
        async with asyncio.timeout(60):
            if hasattr(call, "__aiter__"):
                [response async for response in call]
            await call
    except grpc.aio.AioRpcError as failure:
        error = await status.instead_of(failure)
        return error.code(), error_from_rpc(error).reason
    raise AssertionError("the call did not fail")


def ends_in(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the audit lines of calls that were ended."""
    return [record for record in caplog.records if record.name == "motet.audit"]


def requests_of(generation: str, artifact: str) -> dict[str, Any]:
    """Return a request for each stream that a caller may keep open. A list has the first messages of a stream."""
    return {
        f"{_GENERATIONS}/Generate": convert.request_to_proto(request_of()),
        f"{_GENERATIONS}/WatchGeneration": generation_pb.WatchGenerationRequest(name=generation),
        f"{_ARTIFACTS}/UploadArtifact": [b"\x0a\x02\x10\x05"],
        f"{_ARTIFACTS}/DownloadArtifact": artifact_pb.DownloadArtifactRequest(name=artifact),
        _REFLECTION: [],
    }


async def test_every_running_stream_of_a_revoked_key_ends_as_a_new_call_would_and_others_go_on(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [deployment.keys.key_of("own") for _ in range(2)]
    client = await deployment.client(keys[0])
    generation, artifact = await detached(client), (await client.upload(LARGE)).name
    requests = requests_of(generation, artifact)
    first, second = [
        {path: await deployment.open(path, request, key) for path, request in requests.items()} for key in keys
    ]

    with caplog.at_level(logging.INFO):
        deployment.revoke(keys[0])
        outcomes = {path: await error_of(call) for path, call in first.items()}
        await until(lambda: deployment.running == len(second))
        await asyncio.sleep(3 * INTERVAL)
        assert deployment.running == len(second)

    assert outcomes == dict.fromkeys(requests, (grpc.StatusCode.UNAUTHENTICATED, Reason.CREDENTIALS_INVALID))
    assert not any(call.done() for call in second.values())
    key_id = keys[0].split("_")[1]
    assert {(line.method, line.credential, line.reason) for line in ends_in(caplog)} == {
        (path, f"key {key_id}", "CREDENTIALS_INVALID") for path in requests
    }
    assert not any(key in record.getMessage() for key in keys for record in caplog.records)
    for call in second.values():
        call.cancel()


class EndlessDownload(ScriptedMotet):
    """A Motet whose downloads have no end."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(256 * 1024)
        finally:
            self.closed.set()


async def test_a_caller_that_reads_nothing_gets_no_more_messages_and_the_error_when_it_reads() -> None:
    motet, keys = EndlessDownload(), KeyRing()
    key = keys.key_of("own")
    server = Server([ArtifactServicer(for_anyone(motet))], authentication=keys.authentication(), recheck_interval=0.1)
    async with server, open_channel(server.address, retries=False) as channel:
        download = channel.unary_stream(f"{_ARTIFACTS}/DownloadArtifact")
        request = artifact_pb.DownloadArtifactRequest(name=f"artifacts/{'0' * 32}")
        call = download(request.SerializeToString(), metadata=bearer(key))
        responses = aiter(call)
        await anext(responses)
        keys.records.clear()
        await asyncio.wait_for(motet.closed.wait(), 30)
        received, outcome = 0, None
        try:
            async for chunk in responses:
                received += len(chunk)
        except grpc.aio.AioRpcError as error:
            outcome = error.code()

    assert outcome is grpc.StatusCode.UNAUTHENTICATED
    assert received < 8 * 2**20


async def test_the_generation_of_the_call_is_cancelled_and_a_detached_one_goes_on_for_its_tenant(
    deployment: Deployment,
) -> None:
    key, other = (deployment.keys.key_of("own") for _ in range(2))
    client = await deployment.client(key)
    kept = await detached(client)
    events = client.generate(request_of())
    lost = name_of(await anext(events))

    deployment.revoke(key)
    with pytest.raises(AccessError) as caught:
        [event async for event in events]
    await until(lambda: deployment.orchestrator.running == 1)

    assert caught.value.reason is Reason.CREDENTIALS_INVALID
    remaining = await deployment.client(other)
    assert (await remaining.get(lost)).state is State.CANCELLED
    assert (await remaining.get(kept)).state is State.RUNNING
    await remaining.cancel(kept)


def expire(deployment: Deployment, token: str) -> None:
    deployment.tokens._rules = replace(deployment.tokens._rules, leeway=-1e6)


def withdraw_key(deployment: Deployment, token: str) -> None:
    deployment.provider.keys.clear()


CHANGES: dict[str, tuple[str, Callable[[Deployment, str], None], Reason]] = {
    "an expired key": ("key", lambda d, key: d.revoke(key, expire_time=NOW), Reason.CREDENTIALS_INVALID),
    "a removed key": ("key", lambda d, key: d.keys.records.clear(), Reason.CREDENTIALS_INVALID),
    "a key of another tenant": ("key", lambda d, key: d.revoke(key, tenant="other"), Reason.CREDENTIALS_INVALID),
    "a key without the role": ("key", lambda d, key: d.revoke(key, roles={Role.READ}), Reason.ROLE_MISSING),
    "an expired token": ("token", expire, Reason.CREDENTIALS_INVALID),
    "a token whose key was withdrawn": ("token", withdraw_key, Reason.CREDENTIALS_INVALID),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_running_call_ends_after_any_change_that_would_refuse_a_new_call(
    deployment: Deployment, change: str
) -> None:
    kind, apply, reason = CHANGES[change]
    credentials = deployment.keys.key_of("own") if kind == "key" else deployment.provider.token()
    events = (await deployment.client(credentials)).generate(request_of())
    await anext(events)
    await asyncio.sleep(3 * INTERVAL)
    assert deployment.running == 1

    apply(deployment, credentials)

    with pytest.raises(AccessError) as caught:
        async with asyncio.timeout(60):
            [event async for event in events]
    assert caught.value.reason is reason


async def test_a_call_that_ended_is_not_checked_and_leaves_nothing_behind(deployment: Deployment) -> None:
    client = await deployment.client(deployment.keys.key_of("own"))
    calls = deployment.server._interceptor._calls
    for _ in range(3):
        assert await client.generations() == ([], "")

    assert not calls._timer._due
    assert not calls._due


async def test_a_check_that_fails_unexpectedly_ends_the_call_and_checks_the_others(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = (deployment.keys.key_of(name) for name in ("own", "other"))
    first, second = [(await deployment.client(each)).generate(request_of()) for each in (key, other)]
    await anext(first)
    await anext(second)

    deployment.keys.records[key.split("_")[1]] = None  # type: ignore[assignment]
    with pytest.raises(MotetError) as caught:
        [event async for event in first]
    assert caught.value.reason is Reason.INTERNAL

    deployment.revoke(other)
    with pytest.raises(AccessError):
        [event async for event in second]
