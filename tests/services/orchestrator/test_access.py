"""Tests of an orchestrator with keys and tokens: its settings, and tenants that meet over gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest

from motet.client import Client
from motet.core.errors import AccessError, MotetError, Reason, SettingsError
from motet.core.files.reloaded_file import ReloadedFile, no_details
from motet.core.media import Media
from motet.core.request import ArtifactName
from motet.transport.access.json_web_keys import parse_keys
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.access.key_file import add_record, revoke
from motet.transport.access.key_records import format_records
from motet.transport.access.new_key import new_key
from motet.transport.access.outcome import RefusedError
from motet.transport.server import Server
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from services.orchestrator.settings import OrchestratorServiceSettings
from services.orchestrator.uploads import UploadLimits, Uploads
from services.settings import settings_of
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of, signal_run
from tests.transport.access.keys import NOW, KeyRing, bearer
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider
from tests.waiting import until

Call = Callable[[Client, str], Awaitable[Any]]
PICTURE = Media("x/a", b"a picture")


class Tenants:
    """An orchestrator that requires keys or tokens, and a client of each tenant."""

    def __init__(self, stack: AsyncExitStack, **limits: int) -> None:
        self.keys = KeyRing()
        self.provider = Provider()
        self._stack = stack
        self._limits = UploadLimits(**limits)

    async def start(self) -> None:
        """Start the server."""
        orchestrator = await self._stack.enter_async_context(orchestrator_of(script_of("An a: ", signal_run("a"))))
        uploads = Uploads(self._limits)
        servicers = [
            GenerationServicer(orchestrator.for_caller),
            ArtifactServicer(orchestrator.for_caller, uploads),
            ModelServicer(orchestrator.for_caller),
        ]
        tokens = JsonWebTokens(TokenRules(ISSUER, AUDIENCE), _Keys(self.provider))
        server = Server(servicers, authentication=self.keys.authentication(tokens))
        self.server = await self._stack.enter_async_context(server)

    async def client(self, token: str) -> Client:
        """Return a client with a key or a token."""
        return await self._stack.enter_async_context(Client(self.server.address, metadata=dict(bearer(token))))


class _Keys:
    def __init__(self, provider: Provider) -> None:
        self._keys = parse_keys(provider.key_set(), "keys")

    async def find(self, key_id: str) -> Any:
        return self._keys.get(key_id)


@pytest.fixture
async def stack() -> Any:
    async with AsyncExitStack() as stack:
        yield stack


async def download(client: Client, name: str) -> bytes:
    return b"".join([chunk async for chunk in client.download(name)])


async def watch(client: Client, name: str) -> None:
    [event async for event in client.watch(name)]


async def test_over_grpc_another_tenants_names_are_like_names_that_do_not_exist(stack: AsyncExitStack) -> None:
    tenants = Tenants(stack)
    await tenants.start()
    own = await tenants.client(tenants.keys.key_of("own", ["generate", "read"]))
    foreign = await tenants.client(tenants.provider.token(sub="foreign"))
    answer = await own.answer(request_of(request_id=str(uuid4())))
    artifact = await own.upload(PICTURE)
    calls: Mapping[str, tuple[str, Call]] = {
        "get": ("generations", lambda client, name: client.get(name)),
        "watch": ("generations", watch),
        "cancel": ("generations", lambda client, name: client.cancel(name)),
        "download": ("artifacts", download),
        "attach": ("artifacts", lambda client, name: client.answer(request_of(ArtifactName(name)))),
    }

    for collection, call in calls.values():
        name = answer.generation.name if collection == "generations" else artifact.name
        errors = []
        for each in (name, f"{collection}/{'0' * 32}"):
            with pytest.raises(MotetError) as caught:
                await call(foreign, each)
            errors.append((type(caught.value), caught.value.reason, caught.value.message.replace(each, "NAME")))
        assert errors[0] == errors[1]
    await foreign.delete(artifact.name)

    assert (await foreign.generations()) == ([], "")
    assert await download(own, artifact.name) == PICTURE.data
    assert [record.name for record in (await own.generations())[0]] == [answer.generation.name]


async def test_the_name_in_the_credentials_is_the_tenant_whatever_the_request_says(stack: AsyncExitStack) -> None:
    tenants = Tenants(stack)
    await tenants.start()
    own, foreign = [await tenants.client(tenants.keys.key_of(name)) for name in ("own", "foreign")]
    request_id = str(uuid4())

    first = await own.answer(request_of(request_id=request_id))
    second = await foreign.answer(request_of(request_id=request_id, tenant="own"))

    assert first.generation.name != second.generation.name
    with pytest.raises(MotetError) as caught:
        await foreign.get(first.generation.name)
    assert caught.value.reason is Reason.GENERATION_NOT_FOUND


async def test_a_key_that_is_revoked_or_added_while_the_server_runs_counts_at_the_next_call(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    tenants = Tenants(stack)
    await tenants.start()
    key = tenants.keys.key_of("own")
    client = await tenants.client(key)
    assert await client.models()

    tenants.keys.records.clear()

    with pytest.raises(AccessError) as caught:
        await client.models()
    assert caught.value.reason is Reason.CREDENTIALS_INVALID


async def test_a_tenant_with_many_connections_has_one_share_of_the_uploads(stack: AsyncExitStack) -> None:
    tenants = Tenants(stack, uploads=4)
    await tenants.start()
    greedy, other = tenants.keys.key_of("greedy"), tenants.keys.key_of("other")
    upload = "/motet.v1.ArtifactService/UploadArtifact"
    channels = [await stack.enter_async_context(grpc.aio.insecure_channel(tenants.server.address)) for _ in range(3)]
    never = asyncio.Event()

    async def frames() -> Any:
        yield b"\x0a\x02\x10\x05"  # A header of 5 bytes.
        await never.wait()

    calls = [channel.stream_unary(upload)(frames(), metadata=bearer(greedy)) for channel in channels]
    done, running = await asyncio.wait(
        [asyncio.ensure_future(code(call)) for call in calls], return_when="FIRST_COMPLETED"
    )

    assert [task.result() for task in done] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(running) == 2
    assert (await (await tenants.client(other)).upload(PICTURE)).size_bytes == len(PICTURE.data)
    for call in calls:
        call.cancel()
    await asyncio.wait(running)


async def code(call: Any) -> grpc.StatusCode:
    """Return the status code of a call, once it has ended."""
    status: grpc.StatusCode = await call.code()
    return status


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jwt_issuer": "i"}, "--jwt-issuer needs --jwt-audience: set it, too"),
        ({"jwt_issuer": "i", "jwt_audience": "a"}, "--jwt-issuer needs --jwt-keys: set it, too"),
        ({"jwt_keys": "k"}, "--jwt-keys needs --jwt-issuer: set it, too"),
    ],
)
def test_the_settings_of_tokens_need_each_other(options: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(OrchestratorServiceSettings, options)


async def test_without_settings_there_are_no_keys_and_no_tokens(stack: AsyncExitStack) -> None:
    assert await OrchestratorServiceSettings().open_bearer_tokens(stack) is None


async def test_the_settings_name_the_files_of_keys_and_of_the_issuers_keys(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    ring, provider = KeyRing(), Provider()
    key = ring.key_of("own")
    keys, issuer_keys = tmp_path / "keys", tmp_path / "jwks"
    keys.write_bytes(format_records(ring.records))
    issuer_keys.write_bytes(provider.key_set())
    options = {"keys": keys, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_keys": str(issuer_keys)}

    tokens = await settings_of(OrchestratorServiceSettings, options).open_bearer_tokens(stack)

    assert tokens is not None
    callers = [await tokens.authenticate(_Bearer(token)) for token in (key, provider.token())]
    assert [caller and caller.tenant for caller in callers] == ["own", "acme"]


async def test_a_key_that_is_made_and_revoked_in_the_file_of_a_service_has_audit_lines_with_its_id(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ReloadedFile.__init__, "__defaults__", (0.01, no_details))
    caplog.set_level(logging.INFO, "motet.audit")
    path = tmp_path / "keys.jsonl"
    first, second = (new_key(tenant="own", roles=["read"], create_time=NOW) for _ in range(2))
    add_record(path, first[1])
    tokens = await settings_of(OrchestratorServiceSettings, {"keys": path}).open_bearer_tokens(stack)
    assert tokens is not None

    def lines() -> list[dict[str, object]]:
        return [vars(record) for record in caplog.records if record.getMessage() == "a changed file is in use"]

    add_record(path, second[1])
    await until(lambda: len(lines()) == 1)
    assert await tokens.authenticate(_Bearer(second[0]))
    revoke(path, first[1].id, NOW)
    await until(lambda: len(lines()) == 2)
    with pytest.raises(RefusedError):
        await tokens.authenticate(_Bearer(first[0]))

    assert (lines()[0]["file"], lines()[0]["added"]) == ("keys.jsonl", [second[1].id])
    assert lines()[1]["revoked"] == [first[1].id]
    assert {"added", "changed", "removed"}.isdisjoint(lines()[1])


class _Bearer:
    """The credentials of a call with a bearer token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def bearer_token(self) -> str:
        return self._token


@pytest.mark.parametrize("option", ["keys", "jwt_keys"])
@pytest.mark.parametrize("content", ["{", None])
async def test_a_service_does_not_start_with_a_broken_or_missing_file(
    stack: AsyncExitStack, tmp_path: Path, option: str, content: str | None
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    tokens = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE} if option == "jwt_keys" else {}
    settings = settings_of(OrchestratorServiceSettings, {option: str(path), **tokens})

    with pytest.raises(SettingsError, match="file"):
        await settings.open_bearer_tokens(stack)
