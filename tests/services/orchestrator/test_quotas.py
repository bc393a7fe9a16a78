"""Quotas over gRPC: the status of a refusal, and `GetQuota`."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2

from motet.client import Client
from motet.core.errors import OverloadedError, Reason
from motet.transport.server import Server
from motet.transport.status import error_to_status_proto
from orchestrator.quota.limits import QuotaLimits
from services.orchestrator.servicer import GenerationServicer, QuotaServicer
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of


async def test_a_refusal_names_the_quota_and_get_quota_shows_what_is_left() -> None:
    limits = QuotaLimits(generations_per_minute=1, tokens_per_minute=1000)
    async with orchestrator_of(script_of("hello"), quotas={"default": limits}) as orchestrator:
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


def test_the_status_of_a_quota_has_a_quota_failure_and_the_time_to_retry() -> None:
    error = OverloadedError("used up", Reason.QUOTA_EXCEEDED, {"quota": "tokens_per_minute"}, retry_after=2.5)
    violation, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()

    details = error_to_status_proto(error).details

    assert any(detail.Unpack(violation) for detail in details)
    assert violation.violations[0].subject == "tokens_per_minute"
    assert any(detail.Unpack(retry) for detail in details)
    assert retry.retry_delay.ToMilliseconds() == 2500
