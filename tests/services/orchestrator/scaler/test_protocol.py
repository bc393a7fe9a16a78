"""KEDA's protocol at the listener of the scaler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from motet.core.caller import Role
from motet.core.errors import OverloadedError, Reason, RequestError, SettingsError
from motet.internal.externalscaler import externalscaler_pb2 as scaler_pb
from motet.transport.access.authorization import ROLES
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.pool_calls import PoolCalls
from orchestrator.pool.queued_call import QueuedCall
from services.orchestrator.scaler.server import scaler_server
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import settings_of
from services.up.certificate_authority import CertificateAuthority
from tests.services.orchestrator.scaler.harness import Keda, keda_at, ref, refusal
from tests.waiting import until

POOLS = ("encoder", "llm", "image")


def call(units: float = 1.0) -> QueuedCall:
    """Return a call of a number of units, each of which takes two seconds."""
    return QueuedCall("", 0, units, 2.0 * units, 0.0)


@asynccontextmanager
async def scaler(listen: str = "127.0.0.1:0", **options: Any) -> AsyncIterator[tuple[Server, dict[str, PoolCalls]]]:
    """Serve pools with the demand that a test makes."""
    settings = settings_of(OrchestratorServiceSettings, {"toy": True, "scaler_listen": listen, **options})
    pools = {name: PoolCalls(DurationEstimate(2.0)) for name in POOLS}
    async with scaler_server(listen, settings, pools, ConcurrencyLimiter(), dict) as server:
        yield server, pools


@asynccontextmanager
async def scaler_and_keda(**options: Any) -> AsyncIterator[tuple[dict[str, PoolCalls], Keda]]:
    async with scaler(**options) as (server, pools), keda_at(server.address) as keda:
        yield pools, keda


async def test_a_pool_without_calls_has_the_demand_0_and_is_not_active() -> None:
    async with scaler_and_keda() as (_, keda):
        for pool in POOLS:
            assert await keda.demand(pool) == 0
            assert not await keda.active(pool)
            states = keda.watch(pool)
            await until(lambda states=states: states == [False])


async def test_the_demand_is_in_both_fields_and_the_target_too() -> None:
    async with scaler_and_keda() as (pools, keda):
        with pools["image"].counted(call(1.5)), pools["image"].counted(call(0.3)):
            values = (await keda.stub.GetMetrics(scaler_pb.GetMetricsRequest(scaledObjectRef=ref()))).metricValues
        specs = [
            (await keda.stub.GetMetricSpec(request)).metricSpecs
            for request in (ref(), ref(targetSeconds="2.6"), ref(targetSeconds="0.1"))
        ]

    assert [(each.metricName, each.metricValue, each.metricValueFloat) for each in values] == [
        ("demand-seconds", 5, 5.0)
    ]
    assert [[(each.metricName, each.targetSize, each.targetSizeFloat) for each in spec] for spec in specs] == [
        [("demand-seconds", 10, 10.0)],
        [("demand-seconds", 3, 2.6)],
        [("demand-seconds", 1, 0.1)],
    ]


async def test_a_burst_is_one_message_and_the_pool_is_active_until_the_last_call_has_ended() -> None:
    async with scaler_and_keda() as (pools, keda):
        image, encoder = keda.watch("image"), keda.watch("encoder")
        await until(lambda: image == encoder == [False])
        burst = [call() for _ in range(200)]
        for each in burst:
            pools["image"].add(each)
        await until(lambda: image == [False, True])
        for each in burst[1:]:
            pools["image"].discard(each)
        assert await keda.active("image")
        pools["image"].discard(burst[0])
        await until(lambda: len(image) == 3)

        assert image == [False, True, False]
        assert encoder == [False]


@pytest.mark.parametrize(
    ("metadata", "advice"),
    [
        ({"pool": ""}, "set pool to one of 'encoder', 'image', 'llm'"),
        ({"pool": "imaje"}, "the nearest one is 'image'"),
        ({"pool": "x" * 5000}, "set pool to one of"),
        ({"targetSeconds": "many"}, "set them to a number from 0.1"),
        ({"targetSeconds": "0"}, "set them to a number from 0.1"),
        ({"targetSeconds": "nan"}, "set them to a number from 0.1"),
        ({"targetSeconds": "1e300"}, "set them to a number from 0.1"),
    ],
    ids=["no pool", "a misspelt pool", "a long pool", "no number", "zero", "nan", "huge"],
)
async def test_wrong_metadata_are_refused_with_what_to_change(metadata: dict[str, str], advice: str) -> None:
    async with scaler_and_keda() as (_, keda):
        wrong = ref(**metadata)
        errors = [
            await refusal(keda.stub.IsActive(wrong)),
            await refusal(keda.stub.StreamIsActive(wrong).read()),
            await refusal(keda.stub.GetMetricSpec(wrong)),
            await refusal(keda.stub.GetMetrics(scaler_pb.GetMetricsRequest(scaledObjectRef=wrong))),
        ]

    for error in errors:
        assert isinstance(error, RequestError)
        assert advice in error.message
        assert len(error.message) < 400


async def test_an_unknown_metric_and_bytes_that_are_no_message_are_refused() -> None:
    async with scaler_and_keda() as (_, keda):
        request = scaler_pb.GetMetricsRequest(scaledObjectRef=ref(), metricName="cpu")
        assert "ask for demand-seconds" in (await refusal(keda.stub.GetMetrics(request))).message
        garbage = keda.channel.unary_unary("/externalscaler.ExternalScaler/IsActive")
        assert (await refusal(garbage(b"\xff\xff\xff"))).reason is Reason.INVALID_REQUEST


async def test_streams_are_bounded_and_a_stream_that_ended_makes_room() -> None:
    async with scaler_and_keda(max_open_calls=8) as (_, keda):

        async def stream() -> Any:
            opened = keda.stub.StreamIsActive(ref())
            assert (await opened.read()).result is False
            return opened

        streams = [await stream() for _ in range(4)]
        with pytest.raises(grpc.aio.AioRpcError):
            await stream()
        assert isinstance(await refusal(keda.stub.IsActive(ref())), OverloadedError)

        streams.pop().cancel()
        async with asyncio.timeout(90):
            while not await is_open(keda):
                await asyncio.sleep(0.002)


async def is_open(keda: Keda) -> bool:
    try:
        return (await keda.active("image")) is False
    except grpc.aio.AioRpcError:
        return False


async def test_a_stream_that_is_cancelled_is_watched_no_more() -> None:
    async with scaler_and_keda() as (pools, keda):
        states = keda.watch("image")
        await until(lambda: states == [False])
        assert len(pools["image"]._watches) == 1
        await keda.stop()
        await until(lambda: not pools["image"]._watches)


async def test_only_a_certificate_with_a_role_that_may_scale_is_served(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    pair = authority.issue("orchestrator", "orchestrator")
    root = authority.certificate.read_bytes()
    outcomes: dict[str | None, Any] = {}
    options = {"tls_cert": pair.certificate, "tls_key": pair.key, "scaler_client_ca": authority.certificate}
    async with AsyncExitStack() as stack:
        server, _ = await stack.enter_async_context(scaler(listen="0.0.0.0:0", **options))
        address = server.address.replace("0.0.0.0", "localhost")
        for role in ("scaler", "operator", "orchestrator", "image", None):
            client = authority.issue("client", role)
            credentials = grpc.ssl_channel_credentials(root, client.key.read_bytes(), client.certificate.read_bytes())
            keda = await stack.enter_async_context(keda_at(address, credentials))
            try:
                outcomes[role] = await keda.active("image")
            except grpc.aio.AioRpcError:
                outcomes[role] = (await refusal(keda.stub.IsActive(ref()))).reason
        anyone = await stack.enter_async_context(keda_at(address, grpc.ssl_channel_credentials(root)))
        outcomes["no certificate"] = (await refusal(anyone.stub.IsActive(ref()))).reason

    assert outcomes == {
        "scaler": False,
        "operator": False,
        "orchestrator": Reason.ROLE_MISSING,
        "image": Reason.CREDENTIALS_MISSING,
        None: Reason.CREDENTIALS_MISSING,
        "no certificate": Reason.WORKER_UNAVAILABLE,
    }


def test_a_certificate_of_a_scaler_opens_no_method_of_other_services() -> None:
    own = {method for method, roles in ROLES.items() if Role.SCALE in roles and roles != frozenset(Role)}

    assert {method.split("/")[1] for method in own} == {"externalscaler.ExternalScaler"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "not be encrypted or authenticated: set --tls-cert, --tls-key and --scaler-client-ca"),
        ({"certificate": True}, "not be authenticated"),
    ],
)
async def test_a_scaler_beyond_this_machine_needs_tls_and_certificates(
    tmp_path: Path, options: dict[str, bool], message: str
) -> None:
    pair = CertificateAuthority(tmp_path).issue("orchestrator")
    tls = {"tls_cert": pair.certificate, "tls_key": pair.key} if options else {}
    with pytest.raises(SettingsError, match=message):
        async with scaler(listen="0.0.0.0:0", **tls):
            pass


def test_the_authority_of_a_scaler_needs_a_scaler_with_tls() -> None:
    with pytest.raises(SettingsError, match="--scaler-client-ca needs --scaler-listen"):
        settings_of(OrchestratorServiceSettings, {"scaler_client_ca": "a"})
    with pytest.raises(SettingsError, match="--scaler-client-ca needs --tls-cert"):
        settings_of(OrchestratorServiceSettings, {"scaler_client_ca": "a", "scaler_listen": "127.0.0.1:0"})
