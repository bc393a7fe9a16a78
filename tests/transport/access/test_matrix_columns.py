"""Every method of every service over TLS: no credentials, wrong CA, expired, revoked, wrong role, another tenant.

A refused call counts against no one, shows nothing, and runs the same functions as any other refused call of its kind.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from prometheus_client import REGISTRY

from motet.client import Client
from motet.core.caller import Role
from motet.core.errors import Reason
from motet.core.media import Media
from motet.core.request import ArtifactName
from motet.transport import convert
from motet.transport.access import credentials as credentials_module
from motet.transport.access.api_key import create_key
from motet.transport.access.authorization import OPEN, ROLES
from motet.transport.channel import open_channel
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import quota_service_pb2 as quota_pb
from services.up.certificate_authority import CertificateAuthority
from tests.orchestrator.pipeline_harness import request_of
from tests.transport.access.everything import EVERY_METHOD, METHODS, everything, refusals
from tests.transport.access.keys import bearer

PICTURE = Media("x/a", b"a picture")
PUBLIC = [path for path in METHODS if path.startswith("/motet.v1.")]
_GENERATIONS, _ARTIFACTS = "/motet.v1.GenerationService", "/motet.v1.ArtifactService"
_MISSING, _INVALID, _ROLE = Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_INVALID, Reason.ROLE_MISSING


class Matrix:
    """A server that requires certificates and keys or tokens, and channels to it with each kind of certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = CertificateAuthority(folder)
        (folder / "untrusted").mkdir()
        self.untrusted = CertificateAuthority(folder / "untrusted")

    async def start(self, stack: AsyncExitStack) -> None:
        files = TlsFiles(self.authority.issue("server"), self.authority.certificate)
        listener = ReloadedCertificates(files, "client_ca").server_credentials()
        self.server = await stack.enter_async_context(everything(credentials=listener))
        self._stack = stack
        self.channel = await self.open(self.authority.issue("caller"))

    async def open(self, pair: PemPair | None) -> grpc.aio.Channel:
        """Return a channel that shows a certificate, or none."""
        data = pair and (pair.key.read_bytes(), pair.certificate.read_bytes())
        credentials = grpc.ssl_channel_credentials(self.authority.certificate.read_bytes(), *(data or ()))
        channel = open_channel(self.server.server.address, credentials, retries=False)
        return await self._stack.enter_async_context(channel)

    async def call(self, path: str, metadata: Any = (), channel: grpc.aio.Channel | None = None) -> Reason | str:
        return await self.server.call(path, metadata, channel=channel or self.channel)


@pytest.fixture
async def matrix(tmp_path: Path) -> AsyncIterator[Matrix]:
    async with AsyncExitStack() as stack:
        matrix = Matrix(tmp_path)
        await matrix.start(stack)
        yield matrix


async def test_a_connection_without_a_certificate_of_the_right_authority_reaches_no_method(matrix: Matrix) -> None:
    key = bearer(matrix.server.keys.key_of("known"))
    expired = matrix.authority.issue("old", begins=timedelta(days=-2), ends=timedelta(days=-1))
    accepted = authentications()
    for pair in (None, matrix.untrusted.issue("caller"), matrix.untrusted.issue("caller", "orchestrator"), expired):
        channel = await matrix.open(pair)
        outcomes = {path: await matrix.call(path, key, channel) for path in (*EVERY_METHOD, *OPEN)}
        assert outcomes == dict.fromkeys(outcomes, "UNAVAILABLE")

    assert authentications() == accepted


@pytest.mark.parametrize("path", EVERY_METHOD)
async def test_a_method_refuses_each_kind_of_wrong_credentials(
    matrix: Matrix, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, provider = matrix.server.keys, matrix.server.provider
    valid = bearer(keys.key_of("known"))
    wrong_roles = [role for role in (Role.GENERATE, Role.READ, Role.OPERATE) if role not in ROLES[path]]
    refused, accepted = refusals(), authentications()

    outcomes = {
        "no credentials": await matrix.call(path),
        "an expired key": await matrix.call(path, bearer(keys.expired())),
        "an expired token": await matrix.call(path, bearer(provider.token(exp=time.time() - 3600))),
        "a revoked key": await matrix.call(path, bearer(keys.revoked())),
        "a token whose key was withdrawn": await matrix.call(path, bearer(provider.token(headers={"kid": "k0"}))),
    }
    with monkeypatch.context() as context:
        context.setattr(credentials_module, "time", SimpleNamespace(time=lambda: 4e9))
        outcomes["a valid key, and a certificate that expired"] = await matrix.call(path, valid)
    assert outcomes == dict.fromkeys(outcomes, _INVALID) | {"no credentials": _MISSING}
    assert authentications() == accepted

    for roles in [[role] for role in wrong_roles] + ([wrong_roles] if wrong_roles else []):
        assert await matrix.call(path, bearer(keys.key_of("known", roles))) is _ROLE
        token = provider.token(scope=" ".join(f"motet:{role}" for role in roles))
        assert await matrix.call(path, bearer(token)) is _ROLE
    assert await matrix.call(path, bearer(provider.token(scope="motet:orchestrator"))) is _ROLE

    assert refusals() == refused
    assert (matrix.server.limiter.load.running, matrix.server.limiter.load.queued) == (0, 0)


@pytest.mark.parametrize("role", ["orchestrator", "operator", "scaler", "encoder", "llm", "decoder"])
async def test_the_role_in_a_certificate_opens_its_methods_and_no_others(matrix: Matrix, role: str) -> None:
    channel = await matrix.open(matrix.authority.issue(role, role))
    roles = {"orchestrator": {Role.ORCHESTRATOR}, "operator": {Role.OPERATE}, "scaler": {Role.SCALE}}.get(role, set())

    outcomes = {path: await matrix.call(path, channel=channel) for path in EVERY_METHOD}

    assert {path for path, outcome in outcomes.items() if outcome is not _ROLE} == {
        path for path in EVERY_METHOD if ROLES[path] & roles
    }


@pytest.mark.parametrize("path", EVERY_METHOD)
async def test_refused_credentials_run_the_same_functions_so_their_time_shows_nothing(path: str) -> None:
    async with everything() as server:
        keys = server.keys
        known = keys.key_of("known")
        forged = f"{known[: known.rindex('_')]}_{create_key().rpartition('_')[2]}"
        cases = {
            "revoked": keys.revoked(),
            "expired": keys.expired(),
            "unknown": create_key(),
            "wrong secret": with_checksum(forged),
        }
        for key in cases.values():
            # The first outcome of its kind creates a label of the metric.
            await server.call(path, bearer(key))
        counts, answers = {}, {}
        for case, key in cases.items():
            async with server.counted() as counts[case]:
                answers[case] = await server.answer(path, (*bearer(key), ("x-request-id", "the-same")))

    assert all(count == counts["unknown"] for count in counts.values())
    assert counts["unknown"]["motet.transport.access.api_keys.ApiKeys.caller_of"] == 1
    assert all(answer == answers["unknown"] for answer in answers.values())


def with_checksum(key: str) -> str:
    """Return the key with a right checksum."""
    from motet.transport.access import api_key

    return key[:-6] + api_key._checksum(key[:-6])


def requests_of(generation: str, artifact: str) -> dict[str, Message]:
    """Return a request for each method that takes the name of a generation or of an artifact."""
    return {
        f"{_GENERATIONS}/GetGeneration": generation_pb.GetGenerationRequest(name=generation),
        f"{_GENERATIONS}/WatchGeneration": generation_pb.WatchGenerationRequest(name=generation),
        f"{_GENERATIONS}/CancelGeneration": generation_pb.CancelGenerationRequest(name=generation),
        f"{_GENERATIONS}/Generate": convert.request_to_proto(request_of(ArtifactName(artifact))),
        f"{_ARTIFACTS}/DownloadArtifact": artifact_pb.DownloadArtifactRequest(name=artifact),
        f"{_ARTIFACTS}/DeleteArtifact": artifact_pb.DeleteArtifactRequest(name=artifact),
    }


class Tenants:
    """A server with the generation and the artifact of one tenant, and the key of another one."""

    async def start(self, stack: AsyncExitStack) -> None:
        self.server = await stack.enter_async_context(everything(draining=False))
        self.own_key, self.foreign_key = (bearer(self.server.keys.key_of(name)) for name in ("own", "foreign"))
        self.own, self.foreign = [
            await stack.enter_async_context(Client(self.server.server.address, metadata=dict(key)))
            for key in (self.own_key, self.foreign_key)
        ]
        self.request_id = str(uuid4())
        self.generation = (await self.own.answer(request_of(request_id=self.request_id))).generation.name
        self.artifact = (await self.own.upload(PICTURE)).name

    async def belongings(self) -> Any:
        """Return all that the first tenant has. Its rates refill, so only what is stored or running is exact."""
        quotas = {quota.name: quota.remaining for quota in await self.own.quotas() if "per_minute" not in quota.name}
        content = b"".join([chunk async for chunk in self.own.download(self.artifact)])
        return (await self.own.generations())[0], content, quotas

    async def answer(self, path: str, message: Message) -> tuple[Reason | str, list[bytes], str]:
        """Return the outcome of a call of the other tenant."""
        return await self.server.answer(path, self.foreign_key, message.SerializeToString())


@pytest.fixture
async def tenants() -> AsyncIterator[Tenants]:
    async with AsyncExitStack() as stack:
        tenants = Tenants()
        await tenants.start(stack)
        yield tenants


@pytest.mark.parametrize("path", requests_of("", ""))
async def test_the_names_of_another_tenant_are_unknown_and_run_the_functions_of_unknown_names(
    tenants: Tenants, path: str
) -> None:
    unknown = f"generations/{'0' * 32}", f"artifacts/{'0' * 32}"
    cases = {"unknown": unknown, "foreign": (tenants.generation, tenants.artifact)}
    belongings = await tenants.belongings()
    await tenants.answer(path, requests_of(*unknown)[path])
    counts, outcomes = {}, {}
    for case, names in cases.items():
        async with tenants.server.counted() as counts[case]:
            reason, responses, message = await tenants.answer(path, requests_of(*names)[path])
        for name in names:
            message = message.replace(name, "NAME")
        outcomes[case] = reason, responses, message

    assert outcomes["foreign"] == outcomes["unknown"]
    assert counts["foreign"] == counts["unknown"]
    expected = "OK" if path.endswith("DeleteArtifact") else not_found(path)
    assert outcomes["foreign"][0] == expected
    assert await tenants.belongings() == belongings


def not_found(path: str) -> Reason:
    return Reason.GENERATION_NOT_FOUND if path.endswith("Generation") else Reason.ARTIFACT_NOT_FOUND


async def test_methods_without_a_name_show_and_change_only_what_belongs_to_the_caller(tenants: Tenants) -> None:
    belongings = await tenants.belongings()
    before = {quota.name: quota for quota in await tenants.foreign.quotas()}

    assert await tenants.foreign.generations() == ([], "")
    reused = await tenants.foreign.answer(request_of(request_id=tenants.request_id))
    stored = await tenants.foreign.upload(PICTURE)
    await tenants.foreign.delete(stored.name)
    assert [model.name for model in await tenants.foreign.models()] == [
        model.name for model in await tenants.own.models()
    ]

    assert all(quota.remaining == quota.limit for quota in before.values())
    assert reused.generation.name != tenants.generation
    assert [record.name for record in (await tenants.foreign.generations())[0]] == [reused.generation.name]
    assert await tenants.belongings() == belongings


async def test_the_page_token_of_another_tenant_is_like_one_that_was_made_up(tenants: Tenants) -> None:
    path = f"{_GENERATIONS}/ListGenerations"
    await tenants.own.answer(request_of())
    request = generation_pb.ListGenerationsRequest(page_size=1)
    _, (data,), _ = await tenants.server.answer(path, tenants.own_key, request.SerializeToString())
    token = generation_pb.ListGenerationsResponse.FromString(data).next_page_token
    assert token
    other = ("A" if token[0] != "A" else "B") + token[1:]

    answers = [
        await tenants.answer(path, generation_pb.ListGenerationsRequest(page_token=each)) for each in (token, other)
    ]

    assert answers[0] == answers[1]
    assert answers[0][0] is Reason.INVALID_REQUEST


def test_the_matrix_of_tenants_has_every_public_method() -> None:
    without_a_name = {"ListGenerations", "UploadArtifact", "ListModels", "GetModel", "GetQuota"}
    named = {path.rpartition("/")[2] for path in requests_of("", "")}

    assert {path.rpartition("/")[2] for path in PUBLIC} == named | without_a_name


async def test_a_refused_call_takes_nothing_from_the_quota_of_the_tenant_that_it_names(tenants: Tenants) -> None:
    keys = tenants.server.keys
    request = quota_pb.GetQuotaRequest().SerializeToString()
    quota = "/motet.v1.QuotaService/GetQuota"
    before = await tenants.server.answer(quota, bearer(keys.key_of("victim")), request)

    generate = convert.request_to_proto(request_of(tenant="victim")).SerializeToString()
    for key in (keys.key_of("victim", [Role.READ]), revoked(tenants, "victim"), with_checksum(create_key())):
        outcome, _, _ = await tenants.server.answer(f"{_GENERATIONS}/Generate", bearer(key), generate)
        assert outcome in (_INVALID, _ROLE)

    assert await tenants.server.answer(quota, bearer(keys.key_of("victim")), request) == before


def revoked(tenants: Tenants, tenant: str) -> str:
    from tests.transport.access.keys import NOW

    return tenants.server.keys.key_of(tenant, revoke_time=NOW)


def authentications() -> float:
    """Return the number of calls with credentials that were accepted."""
    accepted = ({"kind": kind, "outcome": "accepted"} for kind in ("bearer", "certificate"))
    return sum(REGISTRY.get_sample_value("motet_authentications_total", labels) or 0.0 for labels in accepted)
