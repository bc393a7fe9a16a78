"""An orchestrator with keys and tokens for tests with crafted values, and checks of what it answers and logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from motet.core.errors import Reason
from motet.transport.access.json_web_keys import parse_keys
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.channel import open_channel
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from services.logs.lines import JsonLines, LineWriter
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer, QuotaServicer
from tests.orchestrator.pipeline_harness import orchestrator_of
from tests.transport.access.keys import KeyRing, bearer
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider

_MAX_MESSAGE_BYTES = 1000
_MAX_VALUE_BYTES = 200
_MAX_STATUS_BYTES = 8192

LIST = "/motet.v1.GenerationService/ListGenerations"


class Target:
    """A server that crafted values are sent to, with the keys of two tenants."""

    def __init__(self, address: str, channel: grpc.aio.Channel, keys: KeyRing, provider: Provider) -> None:
        self.address = address
        self.keys = keys
        self.provider = provider
        self.own, self.other = keys.key_of("own"), keys.key_of("other")
        self._channel = channel

    async def send(self, method: str, *requests: bytes, key: str = "") -> tuple[grpc.StatusCode, list[bytes], str]:
        """Send a request as bytes. Return the code, the responses, and a fault of the status or ""."""
        call: Any = self._channel.stream_stream(method)(iter(requests), timeout=50, metadata=bearer(key or self.own))
        responses = []
        try:
            async for response in call:
                responses.append(response)
        except grpc.aio.AioRpcError as error:
            return error.code(), responses, fault_of_status(error)
        return grpc.StatusCode.OK, responses, ""

    async def serves_others(self) -> bool:
        """Return whether a call of another tenant succeeds."""
        return (await self.send(LIST, b"", key=self.other))[0] is grpc.StatusCode.OK


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    """Serve an orchestrator over toys that requires keys or tokens."""
    keys, provider = KeyRing(), Provider()
    tokens = JsonWebTokens(TokenRules(ISSUER, AUDIENCE), _Keys(provider))
    async with orchestrator_of([ord("a")]) as orchestrator:
        kinds = (GenerationServicer, ArtifactServicer, ModelServicer, QuotaServicer)
        servicers = [kind(orchestrator.for_caller) for kind in kinds]
        server = Server(servicers, authentication=keys.authentication(tokens), reflection=True)
        async with server, open_channel(server.address) as channel:
            yield Target(server.address, channel, keys, provider)


class _Keys:
    def __init__(self, provider: Provider) -> None:
        self._keys = parse_keys(provider.key_set(), "keys")

    async def find(self, key_id: str) -> Any:
        return self._keys.get(key_id)


class Output:
    """The log lines of a process, as standard error gets them."""

    def __init__(self) -> None:
        self.text = ""

    def faults(self, secrets: Collection[str] = ()) -> list[str]:
        """Return the lines that are not one JSON line of printable ASCII characters, or say too much."""
        lines = self.text.split("\n")[:-1]
        assert lines, "there are no log lines"
        return [line for line in lines if _is_faulty(line, secrets)]


@contextmanager
def log_lines() -> Iterator[Output]:
    """Collect the log lines of the context. They are complete at its end."""
    output, stream, root = Output(), io.StringIO(newline=""), logging.getLogger()
    lines = logging.StreamHandler(stream)
    lines.setFormatter(JsonLines())
    writer, level = LineWriter(lines, "orchestrator"), root.level
    root.addHandler(writer)
    root.setLevel(logging.INFO)
    try:
        yield output
    finally:
        root.removeHandler(writer)
        root.setLevel(level)
        writer.flush_waiting()
        output.text = stream.getvalue()


def _is_faulty(line: str, secrets: Collection[str]) -> bool:
    if not (line.isascii() and line.isprintable()) or any(secret in line for secret in secrets):
        return True
    fields = json.loads(line)
    return fields["level"] == "error" or not all(str(value).isprintable() for value in fields.values())


def fault_of_status(error: grpc.aio.AioRpcError) -> str:
    """Return a fault of a status that Motet sent, or ""."""
    return fault_of_details(error.details() or "", dict(error.trailing_metadata() or ()).get(DETAILS_KEY))


def fault_of_details(message: str, details: bytes | str | None) -> str:
    """Return a fault of a status from its message and its trailer, or "".

    A status is bounded and printable, and has a known reason. A status of gRPC itself has no trailer.
    """
    texts = {message: _MAX_MESSAGE_BYTES}
    if isinstance(details, bytes):
        status = status_pb2.Status.FromString(details)
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info) or detail.Unpack(bad)
        if info.reason not in set(Reason) or info.reason == Reason.INTERNAL:
            return f"the reason {info.reason!r}"
        texts |= dict.fromkeys((*info.metadata.keys(), *info.metadata.values()), _MAX_VALUE_BYTES)
        for violation in bad.field_violations:
            texts |= dict.fromkeys((violation.field, violation.description), _MAX_VALUE_BYTES)
        if len(details) > _MAX_STATUS_BYTES:
            return f"a status of {len(details)} bytes"
    for text, limit in texts.items():
        if not text.isprintable() or len(text.encode()) > limit:
            return f"the text {text!r}"
    return ""
