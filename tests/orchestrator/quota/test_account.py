"""The account of a tenant, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from motet.core.caller import ANONYMOUS, Caller, Role
from motet.core.errors import OverloadedError, Reason
from orchestrator.quota.account import Account
from orchestrator.quota.accounts import MAX_ACCOUNTS, Accounts
from orchestrator.quota.limits import UNLIMITED, QuotaLimits, no_quotas
from orchestrator.quota.token_bucket import TokenBucket
from tests.waiting import in_virtual_time


def caller(tenant: str, quota_class: str = "") -> Caller:
    return Caller(tenant, frozenset({Role.GENERATE}), quota_class=quota_class)


def refused(check: object) -> OverloadedError:
    with pytest.raises(OverloadedError) as failure:
        check()  # type: ignore[operator]
    assert failure.value.reason is Reason.QUOTA_EXCEEDED
    return failure.value


@in_virtual_time
async def test_a_bucket_refills_at_its_rate_up_to_the_amount_of_a_minute() -> None:
    bucket = TokenBucket(60)
    bucket.charge(90)
    assert bucket.amount == pytest.approx(-30)
    await asyncio.sleep(45)
    assert bucket.amount == pytest.approx(15)
    await asyncio.sleep(1000)
    assert bucket.amount == 60


@in_virtual_time
async def test_after_the_wait_of_an_empty_bucket_there_is_an_amount() -> None:
    bucket = TokenBucket(60)
    for cost in (0.0, 1.0, 30.0):
        bucket.charge(200)
        await asyncio.sleep(bucket.wait(cost))
        assert bucket.wait(cost) == 0.0
        assert bucket.amount >= cost


@in_virtual_time
async def test_a_rate_of_generations_is_refused_with_the_time_until_the_next_one_may_start() -> None:
    account = Account("small", QuotaLimits(generations_per_minute=2))
    for _ in range(2):
        account.check_generation()
        account.start_generation()
        account.end_generation()

    error = refused(account.check_generation)
    assert error.metadata == {"quota": "generations_per_minute", "limit": "2"}
    assert error.retry_after == pytest.approx(30, abs=0.1)
    await asyncio.sleep(error.retry_after)
    account.check_generation()


@in_virtual_time
async def test_running_generations_are_limited_until_one_ends() -> None:
    account = Account("small", QuotaLimits(running_generations=1))
    account.check_generation()
    account.start_generation()

    assert refused(account.check_generation).metadata["quota"] == "running_generations"
    account.end_generation()
    account.check_generation()


@in_virtual_time
async def test_tokens_that_were_used_beyond_the_limit_are_a_debt() -> None:
    account = Account("small", QuotaLimits(tokens_per_minute=100))
    account.check_generation()
    account.charge_tokens(350)

    error = refused(account.check_generation)
    assert error.retry_after == pytest.approx(150, abs=0.1)
    account.charge_tokens(10**6)
    assert refused(account.check_generation).retry_after == 3600


@in_virtual_time
async def test_decoder_seconds_are_counted_for_each_modality_alone() -> None:
    account = Account("small", QuotaLimits(decoder_seconds_per_minute={"image": 10}))
    account.charge_media("image", 11)
    account.charge_media("audio", 1000)

    assert refused(lambda: account.check_media("image", 0)).metadata["quota"] == "decoder_seconds_per_minute/image"
    account.check_media("audio", 0)
    account.check_generation()


@in_virtual_time
async def test_bytes_beyond_the_limit_are_refused() -> None:
    account = Account("small", QuotaLimits(artifact_bytes=100))
    account.check_bytes(40, 60)
    assert refused(lambda: account.check_bytes(41, 60)).metadata["quota"] == "artifact_bytes"


@in_virtual_time
async def test_a_tenant_whose_bytes_are_used_up_gets_no_more_media() -> None:
    account = Account("small", QuotaLimits(artifact_bytes=100))
    account.check_media("image", 99)
    assert refused(lambda: account.check_media("image", 100)).metadata["quota"] == "artifact_bytes"


@in_virtual_time
async def test_the_quotas_show_what_is_left() -> None:
    limits = QuotaLimits(
        running_generations=3,
        tokens_per_minute=100,
        encoder_seconds_per_minute=4,
        decoder_seconds_per_minute={"image": 5},
        artifact_bytes=1000,
    )
    account = Account("small", limits)
    account.start_generation()
    account.charge_tokens(30)
    account.charge_encoding(1.5)

    assert {quota.name: quota.remaining for quota in account.quotas(250)} == {
        "running_generations": 2,
        "tokens_per_minute": pytest.approx(70),
        "encoder_seconds_per_minute": pytest.approx(2.5),
        "decoder_seconds_per_minute/image": pytest.approx(5),
        "artifact_bytes": 750,
    }
    assert Account("free", UNLIMITED).quotas(250) == []


@in_virtual_time
async def test_each_tenant_has_its_own_account_with_the_limits_of_its_class() -> None:
    classes = {"default": QuotaLimits(running_generations=1), "large": QuotaLimits(running_generations=9)}
    accounts = Accounts(lambda: classes)

    assert accounts.of(caller("a")) is accounts.of(caller("a"))
    assert accounts.of(caller("a")) is not accounts.of(caller("b"))
    assert accounts.of(caller("c", "large")).limits.running_generations == 9
    assert accounts.of(caller("d", "unknown")).limits.running_generations == 1
    assert Accounts(no_quotas).of(ANONYMOUS).limits == UNLIMITED


def test_many_accounts_are_forgotten_except_those_that_differ_from_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.quota.accounts.MAX_ACCOUNTS", 3)

    @in_virtual_time
    async def check() -> None:
        classes = {"default": QuotaLimits(tokens_per_minute=100)}
        accounts = Accounts(lambda: classes)
        running, indebted, idle = [
            accounts.of(caller(tenant)) for tenant in ("tenant-running", "tenant-indebted", "tenant-idle")
        ]
        running.start_generation()
        indebted.charge_tokens(150)

        accounts.of(caller("new"))
        assert accounts.of(caller("tenant-running")) is running
        assert accounts.of(caller("tenant-indebted")) is indebted
        assert accounts.of(caller("tenant-idle")) is not idle

    check()


@in_virtual_time
async def test_refusals_and_costs_are_counted_by_class_and_never_by_tenant() -> None:
    classes = {"metered": QuotaLimits(running_generations=1)}
    accounts = Accounts(lambda: classes)
    account = accounts.of(caller("velvet-canary", "metered"))

    def counted() -> list[float]:
        return [
            REGISTRY.get_sample_value(name, {"quota_class": "metered"} | labels) or 0
            for name, labels in (
                ("motet_quota_refused_total", {"quota": "running_generations"}),
                ("motet_quota_tokens_total", {}),
                ("motet_quota_encoder_seconds_total", {}),
                ("motet_quota_decoder_seconds_total", {"modality": "image"}),
            )
        ]

    before = counted()
    account.start_generation()
    refused(account.check_generation)
    account.charge_tokens(7)
    account.charge_encoding(2.5)
    account.charge_media("image", 1.5)

    assert [after - earlier for after, earlier in zip(counted(), before, strict=True)] == [1, 7, 2.5, 1.5]
    assert "velvet-canary" not in str(list(REGISTRY.collect()))


@in_virtual_time
async def test_new_limits_apply_to_an_account_and_what_was_used_stays_used() -> None:
    classes = {"default": QuotaLimits(running_generations=1, tokens_per_minute=100)}
    accounts = Accounts(lambda: classes)
    account = accounts.of(caller("a"))
    account.start_generation()
    account.charge_tokens(90)

    classes = {"default": QuotaLimits(running_generations=2, tokens_per_minute=300, generations_per_minute=5)}
    assert accounts.of(caller("a")) is account
    account.check_generation()
    left = {quota.name: quota.remaining for quota in account.quotas(0)}
    assert left == {
        "running_generations": 1,
        "generations_per_minute": 5,
        "tokens_per_minute": pytest.approx(210),
    }

    classes = {"default": QuotaLimits(running_generations=1, tokens_per_minute=30)}
    accounts.of(caller("b"))
    assert refused(account.check_generation).metadata["quota"] == "running_generations"
    account.end_generation()
    # 60 tokens beyond the new limit, at 30 tokens per minute.
    assert refused(account.check_generation).retry_after == pytest.approx(120, abs=0.1)


@in_virtual_time
async def test_the_callers_of_a_class_that_was_removed_have_the_default_limits_and_keep_what_they_used() -> None:
    default, batch = QuotaLimits(tokens_per_minute=10), QuotaLimits(tokens_per_minute=1000)
    classes = {"default": default, "batch": batch}
    accounts = Accounts(lambda: classes)
    accounts.of(caller("a", "batch")).charge_tokens(30)

    for changed, left in (({"default": default}, -20), ({"default": default, "batch": batch}, 970), ({}, None)):
        classes = changed
        account = accounts.of(caller("a", "batch"))
        assert [quota.remaining for quota in account.quotas(0)] == [pytest.approx(left)] * (left is not None)


def test_the_number_of_accounts_is_limited_and_those_in_use_are_kept() -> None:
    classes = {"default": QuotaLimits(generations_per_minute=2)}
    accounts = Accounts(lambda: classes)
    running, debtor = accounts.of(caller("tenant-running")), accounts.of(caller("tenant-debtor"))
    running.start_generation()
    debtor.start_generation()
    debtor.end_generation()
    for number in range(2 * MAX_ACCOUNTS):
        accounts.of(caller(f"tenant {number}"))
        if number % 1000 == 0:
            assert accounts.of(caller("tenant-debtor")) is debtor

    assert len(accounts._accounts) <= MAX_ACCOUNTS + 1
    assert accounts.of(caller("tenant-running")) is running
    assert accounts.of(caller("tenant-debtor")) is debtor
