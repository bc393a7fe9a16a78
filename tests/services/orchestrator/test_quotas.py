"""Quotas over gRPC: the status of a refusal, and `GetQuota`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2
from prometheus_client import REGISTRY

from motet.client import Client
from motet.core.errors import MotetError, OverloadedError, Reason, SettingsError
from motet.core.events import PartFailed, State
from motet.core.files.reloaded_file import ReloadedFile
from motet.core.media import Media
from motet.toys.workers import ToyDecoder
from motet.transport.server import Server
from motet.transport.status import error_to_status_proto
from orchestrator.quota.limits import QuotaLimits, parse_quota_classes
from services.orchestrator.service import orchestrator_service
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, QuotaServicer
from tests.orchestrator.edges import edge_decoders, edge_orchestrator
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of
from tests.waiting import until


async def test_a_refusal_names_the_quota_and_get_quota_shows_what_is_left() -> None:
    classes = {"default": QuotaLimits(generations_per_minute=1, tokens_per_minute=1000)}
    async with orchestrator_of(script_of("hello"), quotas=lambda: classes) as orchestrator:
        servicers = [GenerationServicer(orchestrator.for_caller), QuotaServicer(orchestrator.for_caller)]
        async with Server(servicers) as server, Client(server.address, retries=0) as client:
            before = {quota.name: quota.remaining for quota in await client.quotas()}
            await client.answer(request_of())
            after = {quota.name: quota.remaining for quota in await client.quotas()}
            with pytest.raises(OverloadedError) as failure:
                await client.answer(request_of())

    assert before == {"generations_per_minute": 1, "tokens_per_minute": 1000}
    assert after["generations_per_minute"] < 1
    assert after["tokens_per_minute"] < 1000
    assert failure.value.reason is Reason.QUOTA_EXCEEDED
    assert failure.value.metadata["quota"] == "generations_per_minute"
    assert 0 < failure.value.retry_after <= 60.1


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[Client]:
    """Serve an orchestrator with quotas, whose parts "c" take an attached medium "a". Yield a client."""
    decoders = edge_decoders(a=ToyDecoder("a", media_type="x/a", delay=0.01))
    classes = {"default": QuotaLimits(**limits)}
    async with edge_orchestrator(decoders, quotas=lambda: classes, media_cache_bytes=0) as orchestrator:
        kinds = (GenerationServicer, ArtifactServicer, QuotaServicer)
        servicers = [kind(orchestrator.for_caller) for kind in kinds]
        async with Server(servicers) as server, Client(server.address, retries=0) as client:
            yield client


def check_refusal(error: MotetError, quota: str) -> None:
    """Check that an error has the reason, the name of the quota, and the time that only `RetryInfo` brings."""
    assert isinstance(error, OverloadedError)
    assert (error.reason, error.metadata["quota"]) == (Reason.QUOTA_EXCEEDED, quota)
    assert 0 < error.retry_after <= 3600


async def test_an_upload_beyond_the_stored_bytes_is_refused_over_grpc() -> None:
    async with limited(artifact_bytes=100) as client:
        await client.upload(Media("x/a", bytes(60)))
        with pytest.raises(OverloadedError) as failure:
            await client.upload(Media("x/a", bytes(41)))
        assert await client.upload(Media("x/a", bytes(40)))

    check_refusal(failure.value, "artifact_bytes")


async def test_attached_media_that_a_part_may_take_count_before_the_generation_starts() -> None:
    async with limited(artifact_bytes=100) as client:
        with pytest.raises(OverloadedError) as failure:
            await client.answer(request_of(Media("x/a", bytes(101)), "c"))
        assert (await client.generations()) == ([], "")
        await client.answer(request_of(Media("x/a", bytes(100)), "-"))

    check_refusal(failure.value, "artifact_bytes")


async def test_media_beyond_the_stored_bytes_fail_with_the_quota_and_the_text_arrives() -> None:
    async with limited(artifact_bytes=100) as client:
        await client.upload(Media("x/a", bytes(100)))
        error = await failure_of(client, "-a-")

    check_refusal(error, "artifact_bytes")


async def test_media_beyond_the_decoder_seconds_fail_with_the_quota_over_grpc() -> None:
    async with limited(decoder_seconds_per_minute={"a": 1e-6}) as client:
        # The first media cost more than a minute's amount.
        await client.answer(request_of("a"))
        error = await failure_of(client, "-a-")

    check_refusal(error, "decoder_seconds_per_minute/a")


async def failure_of(client: Client, prompt: str) -> MotetError:
    """Return the error of the only part that fails. The others arrive."""
    events = [event.payload async for event in client.generate(request_of(prompt, seed=8))]
    (failed,) = (payload for payload in events if isinstance(payload, PartFailed))
    assert failed.retryable
    record = events[-1].generation  # type: ignore[union-attr]
    assert record.state is State.PARTIAL
    return failed.error


async def test_the_file_is_read_again_when_it_changes_and_a_broken_one_is_reported_once_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text("default: {generations_per_minute: 1}")
    async with (
        ReloadedFile(path, lambda data: parse_quota_classes(data, path.name, ()), "quotas", interval=0.01) as file,
        orchestrator_of(script_of("hello"), quotas=lambda: file.current) as orchestrator,
        Server([GenerationServicer(orchestrator.for_caller), QuotaServicer(orchestrator.for_caller)]) as server,
        Client(server.address, retries=0) as client,
    ):
        await client.answer(request_of())
        first, reported = file.current, reloads("refused")
        replace_contents(path, "default: {generations_per_minute: 0}")
        await until(lambda: reloads("refused") > reported)
        await asyncio.sleep(0.05)
        assert file.current is first
        assert [record.levelname for record in caplog.records if "quotas.yaml" in record.getMessage()] == ["ERROR"]
        with pytest.raises(OverloadedError):
            await client.answer(request_of())

        replace_contents(path, "default: {generations_per_minute: 3}")
        await until(lambda: file.current is not first)
        (quota,) = await client.quotas()
        await client.answer(request_of())

    assert (quota.limit, round(quota.remaining)) == (3, 2)
    assert reloads("refused") == reported + 1


async def test_the_service_refuses_a_limit_of_a_modality_that_its_model_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text("default: {decoder_seconds_per_minute: {imag: 1}}")
    with pytest.raises(SettingsError, match="the nearest is image"):
        async with orchestrator_service({"toy": True, "quotas": path}).open():
            pass


async def test_the_service_reads_its_file_of_quotas_again(tmp_path: Path) -> None:
    path = tmp_path / "quotas.yaml"
    path.write_text("default: {generations_per_minute: 1}")
    service = orchestrator_service({"toy": True, "quotas": path})
    async with service.open() as opened, Server(opened.servicers) as server, Client(server.address) as client:
        assert [quota.limit for quota in await client.quotas()] == [1]
        path.write_text("default: {generations_per_minute: 2}")
        async with asyncio.timeout(90):
            while [quota.limit for quota in await client.quotas()] != [2]:
                await asyncio.sleep(0.1)


def replace_contents(path: Path, text: str) -> None:
    """Replace a file, so that a reader at this moment sees the old contents or the new ones, and no part."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def reloads(result: str) -> float:
    return REGISTRY.get_sample_value("motet_access_reloads_total", {"file": "quotas", "result": result}) or 0.0


def test_the_status_of_a_quota_has_a_quota_failure_and_the_time_to_retry() -> None:
    error = OverloadedError("used up", Reason.QUOTA_EXCEEDED, {"quota": "tokens_per_minute"}, retry_after=2.5)
    violation, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()

    details = error_to_status_proto(error).details

    assert any(detail.Unpack(violation) for detail in details)
    assert violation.violations[0].subject == "tokens_per_minute"
    assert any(detail.Unpack(retry) for detail in details)
    assert retry.retry_delay.ToMilliseconds() == 2500
