"""`motet top` for a release, with a double of an API server."""

from __future__ import annotations

import json

import pytest

from services.cli.top import cluster
from services.cli.top.cluster import ClusterEndpoints
from services.cli.top.monitor import Monitor
from services.cli.top.rows.process import ProcessState
from services.exit_codes import Exit
from tests.services.cli.cluster.cluster_double import pods_path
from tests.services.cli.cluster.installed import Installed
from tests.services.cli.cluster.test_status import metrics_path
from tests.services.cli.top.expositions import DECODER, ORCHESTRATOR


def serve_all(installed: Installed) -> None:
    """Let all pods answer."""
    for path in list(installed.double.objects):
        if path.startswith(f"{pods_path()}/"):
            pod = path.rpartition("/")[2]
            text = ORCHESTRATOR if "orchestrator" in pod else DECODER
            installed.double.texts[metrics_path(pod)] = text


async def test_the_pods_of_a_release_are_read_through_the_api_server(installed: Installed) -> None:
    serve_all(installed)

    result = await installed.top("--release", "demo", "--once", "--json")

    assert (result.exit_code, result.stderr) == (Exit.OK, "")
    line = json.loads(result.stdout)
    by_name = {process["name"]: process for process in line["processes"]}
    assert by_name["demo-image-1"]["address"] == "node-b"
    assert {process["state"] for process in by_name.values()} == {"serving"}
    assert {"demo-orchestrator-0", "demo-llm-0", "demo-film-0"} <= by_name.keys()
    assert next(pool for pool in line["pools"] if pool["pool"] == "image")["calls_waiting"] == 8.0, "two orchestrators"
    assert {(group, resource) for _, group, resource in installed.double.calls} <= {
        ("apps", "deployments"),
        ("", "pods"),
        ("", "pods/proxy"),
    }


async def test_a_pod_that_cannot_be_read_is_shown_with_what_to_change(installed: Installed) -> None:
    serve_all(installed)
    del installed.double.texts[metrics_path("demo-llm-0")]
    waits = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}]
    installed.add_pod("image", "demo-image-9", "", phase="Pending", conditions=waits)

    result = await installed.top("--release", "demo", "--once")

    assert result.exit_code == Exit.PARTIAL
    assert "demo-image-9: the pod waits: Unschedulable: no GPU" in result.stdout
    assert "demo-llm-0: the API server answered 404" in result.stdout
    assert "networkPolicy.scrapers" in result.stdout


async def test_a_cluster_that_refuses_or_lacks_the_release_ends_the_command(installed: Installed) -> None:
    unknown = await installed.top("--release", "other", "--once")
    installed.double.denied = {("list", "", "pods")}
    denied = await installed.top("--once")

    assert (unknown.exit_code, unknown.stdout) == (Exit.REFUSED, "")
    assert "it has demo" in unknown.stderr
    assert (denied.exit_code, denied.stdout) == (Exit.REFUSED, "")


async def test_new_pods_join_the_view_and_a_cluster_that_is_away_keeps_the_known_ones(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.cli.cluster.connection import ClusterTarget, connect

    monkeypatch.setattr(cluster, "_LIST_INTERVAL", 0.0)
    serve_all(installed)
    async with connect(ClusterTarget(kubeconfig=installed.kubeconfig)) as api:
        monitor = Monitor(ClusterEndpoints(api, "demo"))
        before = await monitor.read()
        installed.add_pod("image", "demo-image-9")
        serve_all(installed)
        joined = await monitor.read()
        await installed.double.stop()
        away = await monitor.read()

    assert len(joined.processes) == len(before.processes) + 1
    assert {row.name for row in away.processes} == {row.name for row in joined.processes}
    assert {row.state for row in away.processes} == {ProcessState.UNREACHABLE}
