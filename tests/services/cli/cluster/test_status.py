"""Tests of `motet cluster status` with a double of an API server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client import Gauge

from motet.core.telemetry.service_metrics import families
from services.cli.cluster import release
from services.cli.cluster.api import PAGE
from services.metric_samples import MAX_LINE
from tests.deploy.chart import ci_values, of_kind
from tests.services.cli.cluster.cluster_double import NAMESPACE, pods_path, set_ready
from tests.services.cli.cluster.installed import Installed

METRICS = """\
# TYPE motet_pool_queue_seconds gauge
motet_pool_queue_seconds{pool="image"} 12.5
motet_pool_queue_seconds{pool="llm"} 1.0
# TYPE motet_pool_outstanding_seconds gauge
motet_pool_outstanding_seconds{pool="image",replica="0"} 3.0
motet_pool_outstanding_seconds{pool="image",replica="1"} 4.0
# TYPE motet_pool_oldest_wait_seconds gauge
motet_pool_oldest_wait_seconds{pool="image"} 1.5
"""
NOT_READY = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}]


def metrics_path(pod: str, scheme: str = "https") -> str:
    return f"{pods_path()}/{scheme}:{pod}:9464/proxy/metrics"


def serve_metrics(installed: Installed, text: str = METRICS) -> None:
    for number in range(2):
        installed.double.texts[metrics_path(f"demo-orchestrator-{number}")] = text


def row_of(output: str, name: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [name])


async def test_the_components_pods_and_loads_of_a_release_are_shown(installed: Installed) -> None:
    serve_metrics(installed)

    result = await installed.run("status")

    assert (result.exit_code, result.stderr) == (0, "")
    image = row_of(result.stdout, "image")
    assert image[:7] == ["image", "3/3", "1", "nvidia.com/gpu", "25.0", "14.0", "1.5"], "both orchestrators count"
    assert image[7].startswith("motet/worker:")
    assert row_of(result.stdout, "llm")[4:6] == ["2.0", "0.0"]
    assert row_of(result.stdout, "film")[:4] == ["film", "1/1", "-", "-"]
    assert row_of(result.stdout, "demo-image-1")[:5] == ["demo-image-1", "node-b", "Running", "yes", "0"]


async def test_programs_get_one_object_for_each_component(installed: Installed) -> None:
    serve_metrics(installed)

    result = await installed.run("status", "--json")

    by_name = {line["component"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert {*by_name} == {"encoder", "llm", "image", "audio", "video", "animation", "film", "orchestrator"}
    image = by_name["image"]
    assert (image["kind"], image["modality"], image["ready"], image["desired"]) == ("decoder", "image", 3, 3)
    assert image["load"] == {"queued_seconds": 25.0, "running_seconds": 14.0, "oldest_wait_seconds": 1.5}
    assert [pod["node"] for pod in image["pods"]] == ["node-a", "node-b", "node-c"]
    assert image["pods"][0]["problem"] is None


def test_the_metrics_of_the_load_exist() -> None:
    exported = {family.name for each in families() if isinstance(each, Gauge) for family in each.describe()}

    assert set(re.findall(r"motet_pool_[a-z_]+", METRICS)) <= exported


async def test_a_load_that_cannot_be_read_is_a_note_and_no_zero(installed: Installed) -> None:
    serve_metrics(installed, "<html>")
    installed.double.denied.add(("get", "", "pods/proxy"))

    result = await installed.run("status")

    assert result.exit_code == 0
    assert row_of(result.stdout, "image")[4:6] == ["-", "-"]
    assert result.stderr.count("the load of demo-orchestrator-") == 2
    assert "ask for a role" in result.stderr
    installed.double.denied.clear()
    assert "not in the format of Prometheus" in (await installed.run("status")).stderr


async def test_a_line_that_would_take_the_parser_seconds_is_refused(installed: Installed) -> None:
    serve_metrics(installed, f'motet_pool_queue_seconds{{pool="{MAX_LINE * chr(92)}"}} 1')

    assert "not in the format of Prometheus" in (await installed.run("status")).stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                    }
                ],
                "containerStatuses": [],
            },
            ["1 not ready: Unschedulable: 0/3 nodes are available", "add or free a node"],
        ),
        (
            {
                "conditions": NOT_READY,
                "containerStatuses": [
                    {
                        "name": "decoder",
                        "restartCount": 7,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
                        "lastState": {
                            "terminated": {"reason": "Error", "exitCode": 2, "message": "a\nmotet: no bundle x\n"}
                        },
                    }
                ],
            },
            ["CrashLoopBackOff: decoder: exit code 2, motet: no bundle x", "kubectl logs --previous"],
        ),
        (
            {
                "conditions": NOT_READY,
                "containerStatuses": [
                    {
                        "name": "decoder",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                    }
                ],
            },
            ["OOMKilled", "raise resources.limits.memory"],
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "initContainerStatuses": [
                    {
                        "name": "wait-for-weights",
                        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling x"}},
                    }
                ],
                "containerStatuses": [{"name": "decoder", "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            ["ImagePullBackOff: wait-for-weights: Back-off pulling x", "images.pullSecrets"],
        ),
        (
            {
                "phase": "Pending",
                "conditions": NOT_READY,
                "containerStatuses": [
                    {
                        "name": "decoder",
                        "state": {
                            "waiting": {
                                "reason": "CreateContainerConfigError",
                                "message": 'secret "demo-tls" not found',
                            }
                        },
                    }
                ],
            },
            ['secret "demo-tls" not found', "create the Secret"],
        ),
        (
            {
                "conditions": NOT_READY,
                "containerStatuses": [{"name": "decoder", "started": False, "state": {"running": {}}}],
            },
            ["Starting", "at most startupSeconds"],
        ),
        (
            {
                "conditions": NOT_READY,
                "containerStatuses": [{"name": "decoder", "started": True, "state": {"running": {}}}],
            },
            ["NotReady: the readiness probe fails", "kubectl logs"],
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on disk"}, ["Evicted: low on disk", "free the node"]),
        ({"phase": "Pending", "conditions": [], "containerStatuses": []}, ["Waiting", "kubectl describe pod"]),
        ({"phase": "Failed", "reason": "Evicted", "message": "\x1b[2Jx"}, [r"\x1b[2Jx"]),
    ],
    ids=lambda value: None,
)
async def test_a_pod_that_is_not_ready_has_its_reason_and_the_remedy(
    installed: Installed, status: dict[str, Any], words: list[str]
) -> None:
    set_ready(installed.deployment("image"), 2)
    installed.add_pod("image", "demo-image-0", **{"conditions": NOT_READY} | status)

    result = await installed.run("status")

    assert result.exit_code == 3, "a component has too few pods"
    line = next(line for line in result.stdout.splitlines() if line.startswith("image: 1 not ready: "))
    assert all(word in line for word in words), line


async def test_equal_problems_are_one_line(installed: Installed) -> None:
    set_ready(installed.deployment("image"), 0)
    for number in range(3):
        installed.add_pod("image", f"demo-image-{number}", phase="Failed", reason="Evicted", conditions=NOT_READY)

    lines = (await installed.run("status")).stdout.splitlines()

    assert [line.partition(": free")[0] for line in lines if "Evicted" in line] == ["image: 3 not ready: Evicted"]


async def test_a_component_whose_pods_are_refused_has_the_reason(installed: Installed) -> None:
    deployment = installed.deployment("image")
    set_ready(deployment, 0)
    message = 'pods "x" is forbidden: exceeded quota'
    deployment["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": message}]
    installed.remove_pods("image")

    assert f"image: no pod can be created: {message}" in (await installed.run("status")).stdout


async def test_a_thousand_pods_are_read_in_pages(installed: Installed) -> None:
    for number in range(1000):
        installed.add_pod("image", f"demo-image-{number}")
    installed.double.lists.clear()

    result = await installed.run("status", "--json")

    image = next(line for line in map(json.loads, result.stdout.splitlines()) if line["component"] == "image")
    assert len(image["pods"]) == 1000
    pages = [query for query in installed.double.lists if "instance" in query["labelSelector"]]
    assert len(pages) == 1000 // PAGE + 1
    assert {query["limit"] for query in pages} == {str(PAGE)}


async def test_a_release_is_named_if_there_are_several(installed: Installed) -> None:
    other = json.loads(json.dumps(installed.deployment("film")))
    other["metadata"] |= {
        "name": "other-film",
        "labels": other["metadata"]["labels"] | {release.RELEASE_LABEL: "other"},
    }
    installed.double.add(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments", other)

    several, one, none = [
        await installed.run("status", *arguments) for arguments in ((), ("--release", "other"), ("--release", "wrong"))
    ]

    assert (several.exit_code, "set --release to one of demo, other" in several.stderr) == (2, True)
    assert (one.exit_code, row_of(one.stdout, "film")[1]) == (0, "1/1")
    assert "demo-image" not in one.stdout
    assert (none.exit_code, "has no release wrong: it has demo, other" in none.stderr) == (2, True)


async def test_a_namespace_without_a_release_is_an_error(installed: Installed) -> None:
    for arguments in (("--namespace", "empty"), ("--context", "other")):
        result = await installed.run("status", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "has no release of Motet: set --namespace" in result.stderr


def test_the_labels_are_those_of_the_chart() -> None:
    for name, deployment in of_kind("Deployment", ci_values("multi-node")).items():
        labels = deployment["metadata"]["labels"]
        assert labels.items() >= deployment["spec"]["selector"]["matchLabels"].items()
        key, _, value = release.APPLICATION.partition("=")
        assert labels[key] == value
        assert (labels[release.RELEASE_LABEL], labels[release.COMPONENT_LABEL]) == ("demo", name)
