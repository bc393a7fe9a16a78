"""Tests of `motet cluster drain` with a double of an API server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest
from aiohttp import web

from tests.services.cli.cluster.cluster_double import pods_path, set_ready
from tests.services.cli.cluster.installed import Installed
from tests.services.command import CLEAN, COMMAND
from tests.services.orchestrator.discovery.kubernetes_double import Json, status_response
from tests.waiting import until

NODE = "/api/v1/nodes/node-b"


@pytest.fixture
def cluster(installed: Installed) -> Installed:
    """The release, with its nodes."""
    installed.add_nodes()
    return installed


def is_cordoned(cluster: Installed, node: str = NODE) -> bool:
    return bool(cluster.double.objects[node]["spec"].get("unschedulable"))


async def test_a_node_is_cordoned_and_its_pods_are_evicted_with_orchestrators_last(cluster: Installed) -> None:
    result = await cluster.run("drain", "node-b")

    assert result.exit_code == 0, result.stderr
    assert is_cordoned(cluster)
    assert cluster.evicted == [
        f"demo-{name}-1" for name in ("animation", "audio", "encoder", "image", "llm", "video")
    ] + ["demo-orchestrator-1"]
    lines = result.stderr.splitlines()
    assert lines[0] == "motet: node-b is cordoned: no new pod starts there"
    assert "motet: image: demo-image-1 is evicted, and has up to 132 seconds to end" in lines
    assert "motet: image: demo-image-1 has ended, 1 of 1" in lines
    assert "has no pods of demo any more and stays cordoned" in lines[-1]


async def test_a_pod_of_another_release_or_without_a_controller_stays(cluster: Installed) -> None:
    other = cluster.add_pod("image", "other-1", "node-b")
    other["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    cluster.add_pod("image", "test-1", "node-b")["metadata"]["ownerReferences"] = []
    cluster.add_pod("image", "ended-1", "node-b", phase="Failed")

    await cluster.run("drain", "node-b")

    assert not {"other-1", "test-1", "ended-1"} & {*cluster.evicted}


async def test_the_next_component_waits_for_the_replacements_of_the_last_one(cluster: Installed) -> None:
    cluster.slow.add("image")
    ready: list[int] = []
    evict = cluster.evict

    def recording(path: str, eviction: Json) -> Json | web.Response:
        ready.append(cluster.deployment("image")["status"]["readyReplicas"])
        return evict(path, eviction)

    cluster.double.posts["pods/eviction"] = recording

    result = await cluster.run("drain", "node-b")

    assert result.exit_code == 0
    assert ready == [3] * 7, "no pod was evicted while the replacement was missing"
    assert "image: 0 of 3 pods are ready" in result.stderr


async def test_a_replacement_that_finds_no_node_does_not_stop_the_drain(cluster: Installed) -> None:
    evict = cluster.evict

    def without_room(path: str, eviction: Json) -> Json | web.Response:
        answer = evict(path, eviction)
        if "image" in path:
            set_ready(cluster.deployment("image"), 2)
            full = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}
            cluster.add_pod("image", "demo-image-1-new", "", phase="Pending", conditions=[full])
        return answer

    cluster.double.posts["pods/eviction"] = without_room

    result = await cluster.run("drain", "node-b")

    assert (result.exit_code, len(cluster.evicted)) == (0, 7)
    assert "image: 2 of 3 pods are ready, and no node has room: Unschedulable: no GPU" in result.stderr


async def test_an_eviction_is_tried_again_until_the_budget_allows_it(cluster: Installed) -> None:
    refusals = 3
    evict = cluster.evict

    def limited(path: str, eviction: Json) -> Json | web.Response:
        nonlocal refusals
        if "image" in path and refusals:
            refusals -= 1
            return status_response(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        return evict(path, eviction)

    cluster.double.posts["pods/eviction"] = limited

    result = await cluster.run("drain", "node-b")

    assert (result.exit_code, refusals, len(cluster.evicted)) == (0, 0, 7)
    assert result.stderr.count("demo-image-1 has to wait: the API server answered 429: Cannot evict") == 1


async def test_a_budget_that_never_allows_it_ends_the_drain_in_time(cluster: Installed) -> None:
    cluster.double.posts["pods/eviction"] = lambda path, eviction: status_response(429, "disruption budget")

    result = await cluster.run("drain", "node-b", "--timeout", "1s")

    assert (result.exit_code, cluster.evicted) == (5, [])
    assert is_cordoned(cluster)
    assert "node-b stays cordoned: run the command again, or with --uncordon" in result.stderr
    assert "after 1 seconds: run the command again to continue" in result.stderr


@pytest.mark.parametrize("status", [404, 409])
async def test_a_pod_that_has_ended_meanwhile_is_no_error(cluster: Installed, status: int) -> None:
    def gone(path: str, eviction: Json) -> Json | web.Response:
        cluster.double.objects.pop(path.removesuffix("/eviction"))
        return status_response(status, "the UID in the precondition does not match")

    cluster.double.posts["pods/eviction"] = gone

    assert (await cluster.run("drain", "node-b")).exit_code == 0


async def test_an_api_server_that_is_away_for_a_moment_is_tried_again(cluster: Installed) -> None:
    evict = cluster.evict
    pauses: list[asyncio.Task[None]] = []

    async def pause() -> None:
        await cluster.double.stop()
        await asyncio.sleep(0.1)
        await cluster.double.start()

    def away(path: str, eviction: Json) -> Json | web.Response:
        if not pauses:
            pauses.append(asyncio.get_running_loop().create_task(pause()))
        return evict(path, eviction)

    cluster.double.posts["pods/eviction"] = away

    result = await cluster.run("drain", "node-b")

    await asyncio.gather(*pauses)
    assert (result.exit_code, len(cluster.evicted)) == (0, 7), result.stderr


async def test_a_dry_run_changes_nothing(cluster: Installed) -> None:
    result = await cluster.run("drain", "node-b", "--dry-run")

    assert (result.exit_code, cluster.double.bodies, is_cordoned(cluster)) == (0, [], False)
    assert "image: demo-image-1 would be evicted, with up to 132 seconds to end" in result.stdout
    assert len(result.stdout.splitlines()) == 7


async def test_a_node_is_uncordoned(cluster: Installed) -> None:
    await cluster.run("drain", "node-b")

    result = await cluster.run("drain", "node-b", "--uncordon")

    assert (result.exit_code, is_cordoned(cluster)) == (0, False)
    assert "new pods may start there again" in result.stderr


async def test_an_unknown_node_and_contradicting_options_are_refused(cluster: Installed) -> None:
    unknown = await cluster.run("drain", "wrong")
    both = await cluster.run("drain", "node-b", "--uncordon", "--dry-run")

    assert (unknown.exit_code, "has no node wrong: `kubectl get nodes`" in unknown.stderr) == (2, True)
    assert both.exit_code == 2
    assert cluster.double.bodies == []


async def test_a_missing_permission_to_cordon_evicts_nothing(cluster: Installed) -> None:
    cluster.double.denied.add(("patch", "", "nodes"))

    result = await cluster.run("drain", "node-b")

    assert (result.exit_code, cluster.evicted) == (2, [])
    assert "stays cordoned" not in result.stderr


async def test_an_interruption_leaves_the_node_cordoned_and_says_it(cluster: Installed) -> None:
    cluster.double.posts["pods/eviction"] = lambda path, eviction: status_response(429, "disruption budget")
    command = [*COMMAND, "cluster", "drain", "node-b", "--kubeconfig", str(cluster.kubeconfig)]
    process = await asyncio.create_subprocess_exec(
        *command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=CLEAN, start_new_session=True
    )
    await until(lambda: ("create", "", "pods/eviction") in cluster.double.calls)
    os.kill(process.pid, signal.SIGINT)
    _, lines = await process.communicate()

    assert process.returncode == 130, lines
    assert b"node-b stays cordoned: run the command again, or with --uncordon" in lines
    assert is_cordoned(cluster)
    assert f"{pods_path()}/demo-image-1" in cluster.double.objects


async def test_the_next_pod_waits_until_the_last_one_has_ended(cluster: Installed) -> None:
    ending: set[str] = set()
    overlaps: list[str] = []

    def end(path: str) -> None:
        ending.discard(path)
        del cluster.double.objects[path]

    def slowly(path: str, eviction: Json) -> Json | web.Response:
        if ending:
            overlaps.append(path)
        pod = path.removesuffix("/eviction")
        ending.add(pod)
        asyncio.get_running_loop().call_later(0.05, end, pod)
        return {}

    cluster.double.posts["pods/eviction"] = slowly

    result = await cluster.run("drain", "node-b")

    assert (result.exit_code, ending, overlaps) == (0, set(), [])
    assert "image: demo-image-1 is ending" in result.stderr
