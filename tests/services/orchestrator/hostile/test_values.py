"""Crafted names, ids and page tokens in every field of the public services that takes a text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

import grpc
import pytest

from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import generation_service_pb2 as generation_pb
from tests.services.orchestrator.hostile.credentials import tokens
from tests.services.orchestrator.hostile.deployment import LIST, Target, log_lines, target
from tests.services.orchestrator.hostile.names import names, page_tokens
from tests.services.orchestrator.hostile.texts import KINDS, TEXTS
from tests.transport.access.provider import Provider

_GENERATIONS, _ARTIFACTS, _MODELS = (f"/motet.v1.{kind}Service" for kind in ("Generation", "Artifact", "Model"))
GENERATE = f"{_GENERATIONS}/Generate"

OK, INVALID, NOT_FOUND, PRECONDITION = (
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
)


def field(number: int, data: bytes) -> bytes:
    """Return an encoded field of bytes, a text or a message."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    digits = []
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def prompt(part: bytes) -> bytes:
    """Return an encoded request with one part of a user's turn."""
    return field(3, b"\x08\x01" + field(2, part))


_HELLO = prompt(field(1, b"hello"))


class Place(NamedTuple):
    """A field that takes a text: its method, the requests with a value in it, and the right codes."""

    method: str
    requests: Callable[[bytes], Sequence[bytes]]
    codes: frozenset[grpc.StatusCode]


def _in(method: str, request: Callable[[bytes], bytes], *codes: grpc.StatusCode) -> Place:
    return Place(method, lambda value: (request(value),), frozenset(codes))


NAMES_OF: Mapping[str, Mapping[str, Place]] = {
    "generations": {
        method: _in(f"{_GENERATIONS}/{method}", lambda value: field(1, value), INVALID, NOT_FOUND)
        for method in ("GetGeneration", "WatchGeneration", "CancelGeneration")
    },
    "artifacts": {
        "DownloadArtifact": _in(f"{_ARTIFACTS}/DownloadArtifact", lambda v: field(1, v), INVALID, NOT_FOUND),
        # It does nothing if there is no such artifact.
        "DeleteArtifact": _in(f"{_ARTIFACTS}/DeleteArtifact", lambda v: field(1, v), INVALID, OK),
        "a part": _in(GENERATE, lambda value: prompt(field(3, value)), INVALID, NOT_FOUND),
    },
}
PLACES: Mapping[str, Place] = {
    **NAMES_OF["generations"],
    **NAMES_OF["artifacts"],
    "page token": _in(LIST, lambda value: field(2, value), INVALID),
    "GetModel": _in(f"{_MODELS}/GetModel", lambda value: field(1, value), INVALID, NOT_FOUND),
    "model": _in(GENERATE, lambda value: field(2, value) + _HELLO, INVALID, NOT_FOUND),
    "request id": _in(GENERATE, lambda value: field(1, value) + _HELLO, INVALID),
    "allowed modality": _in(GENERATE, lambda value: _HELLO + field(4, value), INVALID),
    # The tenant of a caller with credentials is the one in the credentials.
    "tenant": _in(GENERATE, lambda value: _HELLO + field(12, value), INVALID, OK),
    "modality of a limit": _in(GENERATE, lambda v: _HELLO + field(9, field(2, field(1, v) + b"\x10\x01")), INVALID),
    "modality of options": _in(GENERATE, lambda v: _HELLO + field(11, field(1, v) + field(2, b"")), INVALID),
    "text": _in(GENERATE, lambda value: prompt(field(1, value)), INVALID, OK),
    "media type": _in(GENERATE, lambda v: prompt(field(2, field(1, v) + field(2, b"a"))), INVALID, OK),
    "media type of an upload": Place(
        f"{_ARTIFACTS}/UploadArtifact",
        lambda value: (field(1, field(1, value) + b"\x10\x01"), field(2, b"a")),
        frozenset({INVALID, OK}),
    ),
}


async def faults_of(target: Target, places: Mapping[str, Place], values: Iterable[bytes]) -> list[str]:
    """Send each value to each place, and each time a call of another tenant after it. Return the faults."""
    faults = []
    for value in values:
        results = await asyncio.gather(
            *(target.send(place.method, *place.requests(value)) for place in places.values())
        )
        for (name, place), (code, _, fault) in zip(places.items(), results, strict=True):
            if code not in place.codes or fault:
                faults.append(f"{name} with {value[:40]!r}: {code.name} {fault}")
        if not await target.serves_others():
            faults.append(f"after {value[:40]!r}, a call of another tenant failed")
    return faults


def test_there_are_more_than_200_different_values() -> None:
    crafted = [*TEXTS, *names("generations"), *names("artifacts"), *tokens(Provider())]
    assert len(set(TEXTS)) == len(TEXTS) > 200
    assert len(set(crafted)) > 300


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_in_any_field_gets_a_right_status_and_harms_nothing(kind: str) -> None:
    with log_lines() as output:
        async with target() as deployment:
            assert await faults_of(deployment, PLACES, KINDS[kind]) == []

    assert output.faults() == []


@pytest.mark.parametrize("collection", NAMES_OF)
async def test_a_crafted_name_names_nothing(collection: str) -> None:
    with log_lines() as output:
        async with target() as deployment:
            _, answer, _ = await deployment.send(GENERATE, _HELLO, key=deployment.other)
            accepted = generation_pb.GenerateResponse.FromString(answer[0]).events[0].accepted
            upload = PLACES["media type of an upload"]
            _, uploaded, _ = await deployment.send(upload.method, *upload.requests(b"x/a"), key=deployment.other)
            artifact = artifact_pb.UploadArtifactResponse.FromString(uploaded[0]).artifact
            values = names(collection, accepted.generation if collection == "generations" else artifact.name)

            assert await faults_of(deployment, NAMES_OF[collection], values) == []
            download = f"{_ARTIFACTS}/DownloadArtifact"
            kept = await deployment.send(download, field(1, artifact.name.encode()), key=deployment.other)
            assert kept[0] is OK

    assert output.faults() == []


async def test_an_altered_page_token_and_that_of_another_tenant_are_refused() -> None:
    with log_lines() as output:
        async with target() as deployment:
            found = []
            for key in (deployment.own, deployment.other):
                for _ in range(2):
                    await deployment.send(GENERATE, field(1, str(uuid4()).encode()) + _HELLO, key=key)
                _, pages, _ = await deployment.send(LIST, b"\x08\x01", key=key)
                found.append(generation_pb.ListGenerationsResponse.FromString(pages[0]).next_page_token)
            token, other = found

            assert (await deployment.send(LIST, field(2, token.encode())))[0] is OK
            values = page_tokens(token, other)
            assert await faults_of(deployment, {"page token": PLACES["page token"]}, values) == []

    assert output.faults() == []
