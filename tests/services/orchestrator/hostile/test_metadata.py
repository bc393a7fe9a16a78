"""Crafted credentials, ids and other metadata, as bytes of HTTP/2 that no gRPC client sends."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterable, Mapping

import pytest

from motet.core.logs.request_id import checked_request_id
from services.ready_line import ReadyLine
from tests.services.command import TIMEOUT, started
from tests.services.orchestrator.hostile.credentials import keys, tokens
from tests.services.orchestrator.hostile.deployment import LIST, Target, fault_of_details, log_lines, target
from tests.services.orchestrator.hostile.texts import KINDS, TEXTS
from tests.transport.raw_http2 import Fields, Response, call_fields, respond

OK, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, UNAUTHENTICATED = 0, 3, 4, 8, 12, 16
"""Numbers of gRPC codes."""

METHODS = (
    LIST,
    "/motet.v1.GenerationService/Generate",
    "/motet.v1.ArtifactService/UploadArtifact",
    "/motet.v1.ModelService/ListModels",
    "/motet.v1.QuotaService/GetQuota",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


def authorization(token: bytes, scheme: bytes = b"Bearer ") -> tuple[bytes, bytes]:
    """Return the field of a bearer token."""
    return b"authorization", scheme + token


_MALFORMED = re.compile(
    rb"Error parsing '|Illegal header key|Metadata keys cannot be zero length|Unexpected <class 'UnicodeDecodeError'>"
)
"""Texts of gRPC itself, which refuses malformed fields with INTERNAL or UNKNOWN before Motet sees the call."""


def fault_of(response: Response, codes: Iterable[int]) -> str:
    """Return a fault of a response, or ""."""
    details = response.fields.get(b"grpc-status-details-bin")
    malformed = details is None and _MALFORMED.match(response.fields.get(b"grpc-message", b""))
    if response.refused or malformed or response.code in codes:
        return fault_of_details("", None if details is None else _decoded(details))
    return f"the response {response}"


def _decoded(value: bytes) -> bytes:
    return base64.b64decode(value + b"=" * (-len(value) % 4))


async def faults_of(
    target: Target, calls: Mapping[bytes, Fields], codes: Iterable[int], message: bytes = b""
) -> list[str]:
    """Send calls, and after each one a call of another tenant. Return the faults."""
    calling = asyncio.Semaphore(8)

    async def fault_after(value: bytes, fields: Fields) -> str:
        async with calling:
            fault = fault_of(await respond(target.address, fields, message), codes)
            if not (fault or await target.serves_others()):
                fault = "a call of another tenant failed"
            return fault and f"{value[:60]!r}: {fault}"

    return [fault for fault in await asyncio.gather(*map(fault_after, calls, calls.values())) if fault]


@pytest.mark.parametrize("kind", ["keys", "tokens", "texts"])
async def test_crafted_credentials_are_refused_and_are_on_no_line(kind: str) -> None:
    with log_lines() as output:
        async with target() as deployment:
            own = deployment.own
            values = {"keys": keys(own), "tokens": tokens(deployment.provider), "texts": TEXTS}[kind]
            # gRPC removes spaces around a value, as HTTP demands.
            calls = {
                value: (*call_fields(METHODS[number % len(METHODS)]), authorization(value))
                for number, value in enumerate(values)
                if value.strip(b" \t") != own.encode()
            }
            assert await faults_of(deployment, calls, (UNAUTHENTICATED, EXHAUSTED)) == []

    secrets = {own[20:60], *(value.decode("latin-1") for value in values if len(value) > 32 and value.isascii())}
    assert output.faults(secrets) == []


@pytest.mark.parametrize(
    "scheme", [b"", b" ", b"Basic ", b"Bearer", b"Bearer\t", b"bearer:", b"Bearer  ", b"\0Bearer ", b"B"]
)
async def test_a_key_with_another_scheme_is_refused(scheme: bytes) -> None:
    async with target() as deployment:
        calls = {scheme: (*call_fields(LIST), authorization(deployment.own.encode(), scheme))}
        assert await faults_of(deployment, calls, (UNAUTHENTICATED,)) == []


async def test_two_credentials_are_refused_also_if_both_are_right() -> None:
    async with target() as deployment:
        key, token = authorization(deployment.own.encode()), authorization(deployment.provider.token().encode())
        bad = authorization(b"a")
        calls = {
            str(number).encode(): (*call_fields(LIST), *fields)
            for number, fields in enumerate([(key, key), (key, token), (key, bad), (bad, key), (key, (key[0], b""))])
        }
        assert await faults_of(deployment, calls, (UNAUTHENTICATED,)) == []


async def test_a_crafted_request_id_is_replaced_on_every_line() -> None:
    with log_lines() as output:
        async with target() as deployment:
            key = authorization(deployment.own.encode())
            calls = {text: (*call_fields(LIST), key, (b"x-request-id", text)) for text in TEXTS}
            assert await faults_of(deployment, calls, (OK, EXHAUSTED)) == []
            repeated = [(b"x-request-id", text) for text in (b"first", b"a\tb", b"second")]
            assert (await respond(deployment.address, (*call_fields(LIST), key, *repeated))).code == OK

    assert output.faults() == []
    ids = {json.loads(line)["request_id"] for line in output.text.splitlines()}
    assert all(checked_request_id(each) == each for each in ids)
    assert {"first", "second"} & ids == {"first"}


def odd_fields(key: tuple[bytes, bytes]) -> dict[bytes, Fields]:
    """Return the fields of calls that a gRPC client would not send, each with a valid key, by a name."""
    pseudo, rest = call_fields(LIST)[:4], call_fields(LIST)[4:]
    added: list[tuple[bytes, bytes]] = [
        *(
            (name + b"-bin", value)
            for name in (b"a", b"grpc-tags", b"grpc-trace", b"authorization", b"x-request-id")
            for value in (b"", b"!", b"=", b"AAA", b"A", b"\xff\xfe", b"AAAA,AAAA", b"A" * 6000)
        ),
        *(
            (b"grpc-timeout", value)
            for value in (b"", b"0n", b"1", b"-1S", b"99999999H", b"999999999S", b"1X", b"\xff")
        ),
        *((b"grpc-encoding", value) for value in (b"", b"gzip", b"identity", b"deflate,gzip", b"../a", b"\xff")),
        *((b"grpc-accept-encoding", value) for value in (b"", b",,,,", b"a" * 1000, b"\xff")),
        *((b"user-agent", value) for value in (b"", b"\xff\xfe", b"%s%n", b"a" * 4000, b"\x1b[2J")),
        *((b"traceparent", value) for value in (b"", b"00-0-0-0", b"ff" * 500, b"\xff")),
        *((b"content-length", value) for value in (b"", b"-1", b"0", b"99999999999999999999", b"a")),
        *(
            (b"content-type", value)
            for value in (b"", b"text/html", b"application/grpc+../a", b"application/grpc;a=\xff")
        ),
        *(
            (name, b"a")
            for name in (
                b"A",
                b"a b",
                b"a\0",
                b"a\n",
                b"a:",
                b"",
                b"\xff",
                b":",
                b":status",
                b":unknown",
                b"a" * 4000,
                b"grpc-status",
                b"grpc-message",
                b"grpc-internal-encoding-request",
                b"connection",
                b"transfer-encoding",
                b"host",
                b"cookie",
                b"x-forwarded-for",
                b"te",
                b"upgrade",
                b"__proto__",
                b"%s",
            )
        ),
    ]
    whole: dict[bytes, Fields] = {
        b"no pseudo fields": (*rest, key),
        b"no path": (*pseudo[:2], pseudo[3], *rest, key),
        b"pseudo fields last": (*rest, key, *pseudo),
        b"two paths": (*pseudo, (b":path", b"/motet.v1.ModelService/ListModels"), *rest, key),
        b"two methods": (*pseudo, (b":method", b"GET"), *rest, key),
        b"no content type": (*pseudo, (b"te", b"trailers"), key),
        b"no te": (*pseudo, (b"content-type", b"application/grpc"), key),
        b"many fields": (*call_fields(LIST), key, *((b"a%d" % number, b"") for number in range(2000))),
        b"many equal fields": (*call_fields(LIST), key, *[(b"a", b"")] * 2000),
        b"large fields": (*call_fields(LIST), key, *[(b"a", b"a" * 4000)] * 30),
    }
    for name, value in (
        (b":method", b"GET"),
        (b":method", b"\0"),
        (b":scheme", b"\xff"),
        (b":authority", b"a\r\nb"),
        (b":authority", b""),
        (b":authority", b"\x1b[2J"),
    ):
        whole[name + b" " + value] = (*((each, value if each == name else old) for each, old in pseudo), *rest, key)
    return whole | {name + b"=" + value: (*call_fields(LIST), key, (name, value)) for name, value in added}


async def test_odd_fields_harm_nothing_and_give_no_fault() -> None:
    with log_lines() as output:
        async with target() as deployment:
            calls = odd_fields(authorization(deployment.own.encode()))
            codes = (OK, INVALID, DEADLINE, EXHAUSTED, UNIMPLEMENTED, UNAUTHENTICATED)
            assert await faults_of(deployment, calls, codes) == []

    assert output.faults({deployment.own}) == []


async def test_a_path_that_is_no_method_is_not_implemented() -> None:
    paths = [b"/" + text for text in TEXTS] + [
        b"",
        b"*",
        b"ListGenerations",
        LIST.encode()[1:],
        b"/" + LIST.encode(),
        LIST.encode() + b"/",
        LIST.lower().encode(),
        LIST.encode() + b"?a=1",
        LIST.encode() + b"\0",
        b"/motet.internal.v1.WorkerService/Drain",
        b"/motet.v1.A/B",
    ]
    with log_lines() as output:
        async with target() as deployment:
            key = authorization(deployment.own.encode())
            calls = {
                path: (*((name, path if name == b":path" else value) for name, value in call_fields(LIST)), key)
                for path in paths
            }
            assert await faults_of(deployment, calls, (UNIMPLEMENTED, EXHAUSTED)) == []
            await deployment.send(LIST, b"")

    assert output.faults() == []


async def test_the_standard_error_of_a_service_has_only_json_lines_whatever_its_peers_send() -> None:
    with started("serve", "encoder", "--toy", "--listen", "127.0.0.1:0") as process:
        assert process.stdout is not None
        address = ReadyLine.read(process.stdout.readline()).address  # type: ignore[union-attr]
        fields = call_fields("/motet.internal.v1.WorkerService/Drain")
        names = b"x-request-id", b"authorization", b"a-bin", b"te", b"a\nb"
        values = *KINDS["control characters"], *KINDS["invalid UTF-8"]
        calls = [(*fields, (name, value)) for name in names for value in values]
        await asyncio.gather(*(respond(address, call, b"\xff") for call in calls))
        process.terminate()
        _, lines = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 0
    assert [json.loads(line) for line in lines.splitlines()]
    assert lines.isascii()
