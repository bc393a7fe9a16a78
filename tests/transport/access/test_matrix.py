"""Every method of every service, called with every kind of credentials."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool

from motet.core.caller import Role
from motet.core.errors import FaultError, Reason
from motet.core.telemetry.families.access_metrics import AUTHENTICATIONS
from motet.transport.access.api_key import create_key
from motet.transport.access.authorization import OPEN, ROLES
from motet.transport.server import Server
from tests.transport.access.everything import EVERY_METHOD, MODULES, REFLECTION, Everything, everything, refusals
from tests.transport.access.keys import PEOPLE, bearer


@pytest.fixture
async def server() -> AsyncIterator[Everything]:
    """A server whose limiter is closed: a call that it counts or admits ends as DRAINING."""
    async with everything() as server:
        yield server


_OPERATE, _ORCHESTRATOR, _SCALE = Role.OPERATE, Role.ORCHESTRATOR, Role.SCALE
METHODS_OF = {
    frozenset({Role.GENERATE}): {"Generate", "CancelGeneration", "UploadArtifact", "DeleteArtifact"},
    frozenset({Role.READ}): {"WatchGeneration", "GetGeneration", "ListGenerations", "DownloadArtifact"},
    frozenset(Role): {"ListModels", "GetModel", "GetQuota", "ServerReflectionInfo"},
    frozenset({_OPERATE}): {"Drain"},
    frozenset({_ORCHESTRATOR}): {"Encode", "Generate", "Decode", "DecodeChunked"},
    frozenset({_ORCHESTRATOR, _OPERATE}): {"WatchCapacity"},
    frozenset({_SCALE, _OPERATE}): {"IsActive", "StreamIsActive", "GetMetricSpec", "GetMetrics"},
}
"""The methods by the roles that may call them, written once more, so that a wrong row of the table is found."""


def test_the_rows_are_those_that_the_page_for_operators_lists() -> None:
    found: dict[frozenset[Role], set[str]] = {}
    for path, roles in ROLES.items():
        found.setdefault(roles, set()).add(path.rpartition("/")[2])
    page = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    listed = {role: set(re.findall(r"`(\w+)`", methods)) for role, methods in _ROWS.findall(page)}

    assert found == METHODS_OF
    assert ROLES["/motet.v1.GenerationService/Generate"] == {Role.GENERATE}
    assert listed["`generate`"] == METHODS_OF[frozenset({Role.GENERATE})]
    assert listed["`read`"] == METHODS_OF[frozenset({Role.READ})]
    assert listed["any"] | {"ServerReflectionInfo"} == METHODS_OF[frozenset(Role)]


_ROWS = re.compile(r"^\| (`generate`|`read`|any) \| (.+) \|$", re.MULTILINE)
"""Rows of the page's table of roles."""


def test_every_method_of_every_service_has_a_row_and_every_row_has_a_method() -> None:
    pool = descriptor_pool.Default()
    everywhere = {
        f"/{service.full_name}/{method.name}"
        for file in {module.DESCRIPTOR.name for module in MODULES}
        for service in pool.FindFileByName(file).services_by_name.values()
        for method in service.methods
    }

    assert set(ROLES) - set(REFLECTION) == everywhere
    assert all(ROLES.values())
    assert {Role.OPERATE} == ROLES["/motet.internal.v1.WorkerService/Drain"]


class UnlistedServicer:
    """A servicer with a method that the table of roles does not have."""

    name = "motet.v1.ModelService"

    def add_to(self, server: Any) -> None:
        handlers = {"DropAll": grpc.unary_unary_rpc_method_handler(lambda request, context: request)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("motet.v1.AdminService", handlers),))
        server.add_registered_method_handlers("motet.v1.AdminService", handlers)


async def test_a_server_with_an_unlisted_method_does_not_start() -> None:
    with pytest.raises(FaultError, match="/motet.v1.AdminService/DropAll"):
        await Server([UnlistedServicer()]).start()


@pytest.mark.parametrize("path", EVERY_METHOD)
async def test_a_call_without_valid_credentials_is_refused_before_anything_is_parsed_or_counted(
    server: Everything, path: str
) -> None:
    keys = server.keys
    known = keys.key_of("known")
    cases: dict[str, tuple[Any, Reason]] = {
        "no credentials": ((), Reason.CREDENTIALS_MISSING),
        "an unknown key": (bearer(create_key()), Reason.CREDENTIALS_INVALID),
        "the secret of another key": (bearer(forged(known)), Reason.CREDENTIALS_INVALID),
        "an expired key": (bearer(keys.expired()), Reason.CREDENTIALS_INVALID),
        "a revoked key": (bearer(keys.revoked()), Reason.CREDENTIALS_INVALID),
        "no key": (bearer("motet_x"), Reason.CREDENTIALS_INVALID),
        "a token, but no provider": (bearer("a.b.c"), Reason.CREDENTIALS_INVALID),
        "another scheme": ((("authorization", f"Basic {known}"),), Reason.CREDENTIALS_INVALID),
        "two keys": (bearer(known) * 2, Reason.CREDENTIALS_INVALID),
    }
    refused = refusals()

    outcomes = {case: await server.call(path, metadata) for case, (metadata, _) in cases.items()}

    assert outcomes == {case: reason for case, (_, reason) in cases.items()}
    assert refusals() == refused
    assert (server.limiter.load.running, server.limiter.load.queued) == (0, 0)


@pytest.mark.parametrize("path", EVERY_METHOD)
async def test_a_caller_needs_one_of_the_methods_roles(server: Everything, path: str) -> None:
    people = ROLES[path] & set(PEOPLE)
    wrong = set(PEOPLE) - people
    outcomes = {}
    for role in people | wrong:
        outcomes[role] = await server.call(path, bearer(server.keys.key_of("t", [role])))
    if wrong:
        both = await server.call(path, bearer(server.keys.key_of("t", sorted(wrong))))
        assert both is Reason.ROLE_MISSING

    assert {role for role, outcome in outcomes.items() if outcome is Reason.ROLE_MISSING} == wrong
    for role in people:
        # The call came as far as the parser, or as the limiter, or as the servicer.
        assert outcomes[role] in (Reason.INVALID_REQUEST, Reason.DRAINING, "OK", "CANCELLED", "UNKNOWN", "INTERNAL")


async def test_refused_credentials_look_alike_to_the_caller_and_not_to_the_operator(server: Everything) -> None:
    keys = server.keys
    path = "/motet.v1.ModelService/ListModels"
    tokens = {
        "unknown_key": create_key(),
        "wrong_secret": forged(keys.key_of("known")),
        "revoked": keys.revoked(),
        "expired": keys.expired(),
        "malformed": "motet_x",
    }
    before = {outcome: outcomes_of(outcome) for outcome in tokens}

    errors = []
    for token in tokens.values():
        metadata = (*bearer(token), ("x-request-id", "the-same"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.channel.unary_unary(path)(b"", metadata=metadata)
        errors.append((caught.value.code(), caught.value.details(), caught.value.trailing_metadata()))

    assert all(error == errors[0] for error in errors)
    assert errors[0][0] is grpc.StatusCode.UNAUTHENTICATED
    assert {outcome: outcomes_of(outcome) for outcome in tokens} == {name: count + 1 for name, count in before.items()}


async def test_health_needs_no_credentials(server: Everything) -> None:
    check = server.channel.unary_unary("/grpc.health.v1.Health/Check")

    assert await check(b"", timeout=20)
    assert "/grpc.health.v1.Health/Check" in OPEN


def forged(key: str) -> str:
    """Return another key with the id of a key, and with a right checksum."""
    from motet.transport.access import api_key

    unchecked = f"{key[: key.rindex('_')]}_{create_key().rpartition('_')[2][:-6]}"
    return unchecked + api_key._checksum(unchecked)


def outcomes_of(outcome: str) -> float:
    """Return the number of authentications with an outcome."""
    samples = chain.from_iterable(metric.samples for metric in AUTHENTICATIONS.collect())
    return sum(s.value for s in samples if s.name.endswith("_total") and s.labels["outcome"] == outcome)
