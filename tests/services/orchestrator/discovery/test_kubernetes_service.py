"""Tests of endpoints from a double of the API server of Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from motet.core.errors import SettingsError
from services.orchestrator.discovery.endpoint import Endpoints
from services.orchestrator.discovery.kubernetes_service import KubernetesSource
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble, addresses_of, endpoint, slice_of
from tests.waiting import LoopHolds, until


def source_of(cluster: KubernetesDouble) -> KubernetesSource:
    return KubernetesSource(cluster.account, "motet", "decoder", "grpc")


class Found:
    """The endpoints that a source has yielded, as lists of IP addresses."""

    def __init__(self, source: KubernetesSource) -> None:
        self.source = source
        self.lists: list[list[str]] = []

    async def follow(self) -> None:
        async with aclosing(self.source.watch()) as found:
            async for endpoints in found:
                self.lists.append([address.removesuffix(":50") for address in addresses_of(endpoints)])

    async def until(self, *ips: str) -> None:
        await until(lambda: bool(self.lists) and self.lists[-1] == list(ips))


@asynccontextmanager
async def followed(cluster: KubernetesDouble) -> AsyncGenerator[Found, None]:
    """Yield the endpoints of a service, once it is watched."""
    found = Found(source_of(cluster))
    task = asyncio.create_task(found.follow())
    try:
        await until(lambda: cluster.watches == 1 or task.done())
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def first_of(source: KubernetesSource) -> Endpoints:
    async with aclosing(source.watch()) as found:
        return await anext(found)


async def test_endpoints_follow_the_slices_of_the_service(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")), slice_of("x", endpoint("10.9.9.9"), service="encoder"))
    async with followed(cluster) as found:
        cluster.put(slice_of("b", endpoint("10.0.0.2")))
        await found.until("10.0.0.1", "10.0.0.2")
        cluster.put(slice_of("a", endpoint("10.0.0.1", ready=False, serving=True, terminating=True)))
        await found.until("10.0.0.2")
        cluster.put(slice_of("x", endpoint("10.9.9.8"), service="encoder"))
        cluster.delete("a", "b")
        await found.until()

        assert found.lists == [["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], []]
        assert [request.get("watch") for request in cluster.requests] == [None, "true"], "one list and one watch"


async def test_a_list_in_pages_is_complete(cluster: KubernetesDouble) -> None:
    cluster.put(*(slice_of(f"s{number:02}", endpoint(f"10.0.0.{number}")) for number in range(12)))

    endpoints = await first_of(source_of(cluster))

    assert len(endpoints) == 12
    assert [request.get("continue") for request in cluster.requests] == [None, "5", "10"]


async def test_a_watch_that_ends_continues_after_the_latest_event(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")
        await cluster.end_watches()
        cluster.put(slice_of("a", endpoint("10.0.0.3")))
        await found.until("10.0.0.3")

        lists = [request for request in cluster.requests if "watch" not in request]
        assert len(lists) == 1, "nothing is listed again"
        assert cluster.requests[-1]["resourceVersion"] == "102"


async def test_a_bookmark_keeps_the_version_from_expiring(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.put(*(slice_of("x", endpoint("10.9.9.9"), service="encoder") for _ in range(5)))
        cluster.bookmark()
        await until(lambda: found.source._version == "107")
        cluster.forget(107)
        await cluster.end_watches()
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")

        assert cluster.requests[-1]["allowWatchBookmarks"] == "true"
        assert len([request for request in cluster.requests if "watch" not in request]) == 1, "nothing has expired"


async def test_slices_are_listed_again_if_the_version_has_expired(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")), slice_of("b", endpoint("10.0.0.2")))
    async with followed(cluster) as found:
        await cluster.stop()
        cluster.delete("a")
        cluster.put(slice_of("c", endpoint("10.0.0.3")))
        cluster.forget()
        await cluster.start()
        await found.until("10.0.0.2", "10.0.0.3")

        assert found.lists == [["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.3"]]


async def test_an_expiry_during_a_watch_is_no_outage(
    cluster: KubernetesDouble, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.send({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
        await until(lambda: len([request for request in cluster.requests if "watch" not in request]) == 2)
        await until(lambda: cluster.watches == 1)
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")

        assert "cannot be watched" not in caplog.text


async def test_the_last_endpoints_stay_while_the_api_server_is_away(
    cluster: KubernetesDouble, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        await cluster.stop()
        await asyncio.sleep(1)
        assert found.lists == [["10.0.0.1"]]
        cluster.put(slice_of("a", endpoint("10.0.0.1"), endpoint("10.0.0.2")))
        await cluster.start()
        await found.until("10.0.0.1", "10.0.0.2")

        assert caplog.text.count("cannot be watched, the last replicas stay") == 1, "one line for each outage"


async def test_an_api_server_that_is_away_at_first_is_tried_again(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    await cluster.stop()
    found = Found(source_of(cluster))
    task = asyncio.create_task(found.follow())
    await asyncio.sleep(0.3)
    await cluster.start()
    await found.until("10.0.0.1")
    task.cancel()


async def test_a_pod_without_permission_is_an_error_that_names_the_role(cluster: KubernetesDouble) -> None:
    cluster.forbidden = True
    with pytest.raises(SettingsError, match="verbs list and watch for endpointslices of discovery.k8s.io"):
        await first_of(source_of(cluster))


async def test_a_permission_that_ends_later_is_an_error_in_the_log(
    cluster: KubernetesDouble, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.forbidden = True
        await cluster.end_watches()
        await until(lambda: "verbs list and watch" in caplog.text)
        assert found.lists == [["10.0.0.1"]]
        cluster.forbidden = False
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")


async def test_a_new_token_is_used_without_a_restart(cluster: KubernetesDouble) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.set_token("second")
        await cluster.end_watches()
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")


@pytest.mark.parametrize("event", [{"type": "ADDED", "object": {}}, {}, {"type": "ERROR", "object": {"code": 500}}])
async def test_an_unexpected_event_does_not_end_the_watch(cluster: KubernetesDouble, event: dict[str, object]) -> None:
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with followed(cluster) as found:
        cluster.send({"type": "", "object": {}} | event)
        cluster.put(slice_of("a", endpoint("10.0.0.2")))
        await found.until("10.0.0.2")


async def test_a_thousand_endpoints_do_not_hold_the_event_loop(cluster: KubernetesDouble) -> None:
    await first_of(source_of(cluster))  # The library of the client is imported.
    slices = [slice_of(f"s{n}", *(endpoint(f"10.1.{n}.{m}") for m in range(100))) for n in range(10)]
    cluster.put(*slices)
    async with LoopHolds() as holds, followed(cluster) as found:
        assert len(found.lists[-1]) == 1000
        cluster.put(slice_of("s0", *(endpoint(f"10.2.0.{m}") for m in range(50))))
        await until(lambda: len(found.lists[-1]) == 950)

    assert holds.longest < 0.1
