"""Tests of the names that the certificates of discovered replicas must have."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import RetryableError
from motet.core.media import Media
from motet.core.workers import DecodeJob
from motet.toys.workers import ToyDecoder, tensor_of
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from orchestrator.settings import OrchestratorSettings
from services.orchestrator.pools import pooled_workers
from services.up.certificate_authority import CertificateAuthority
from tests.orchestrator.pipeline_harness import MANIFEST
from tests.transport.serving import served

JOB = DecodeJob("a", tensor_of(b"job", (4,)), seed=7)


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("other", False)])
async def test_the_certificate_of_a_replica_of_a_dns_name_has_that_name(
    tmp_path: Path, name: str, trusted: bool
) -> None:
    authority = CertificateAuthority(tmp_path)
    listener = ReloadedCertificates(TlsFiles(authority.issue("decoder", hosts=[name]), None), "client_ca")
    async with AsyncExitStack() as stack:
        server, _ = await stack.enter_async_context(served(ToyDecoder("a"), credentials=listener.server_credentials()))
        address = server.address.replace("127.0.0.1", "dns:///localhost")
        settings = OrchestratorSettings(
            encoder="127.0.0.1:1", language_model="127.0.0.1:1", decoders={"a": address}, return_timeout=0.1
        )
        certificates = ReloadedCertificates(TlsFiles(None, authority.certificate), "ca")
        workers = await pooled_workers(settings, MANIFEST, stack, certificates)

        async def decode() -> list[object]:
            return [event async for event in workers.decoders["a"].decode(JOB, Deadline.after(30))]

        if trusted:
            assert isinstance((await decode())[-1], Media)
        else:
            with pytest.raises(RetryableError, match="check the name in its certificate"):
                await decode()
