"""The image `ray`, whose containers run the pods of the chart's mode ray as KubeRay starts them.

No KubeRay is involved. The commands, the variables and the probes are those of the source of KubeRay 1.4 and newer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from services.ready_line import ReadyLine
from tests.deploy.chart import of_kind, pod_spec
from tests.deploy.images.container import Container
from tests.deploy.images.image_store import ImageStore, run
from tests.deploy.images.pod_network import PodNetwork
from tests.deploy.images.test_containers import ANSWERED_WITHIN, on_request, store

__all__ = ["store"]
pytestmark = on_request

VALUES: Mapping[str, Any] = {
    "mode": "ray",
    "allowInsecure": True,
    "tls": {"source": "none"},
    "defaults": {"image": {"repository": "motet/ray"}},
    "workers": {"audio": None, "video": None},
    "orchestrator": {"image": {"repository": "motet/ray"}},
}
"""The bundle nano on CPUs, with one decoder."""
WORKERS = ("encoder", "image", "llm")
HEAD = "demo-ray-head-svc.ml.svc"
WGET = "wget --tries 1 -T 2 -q -O- http://localhost:{} | grep success"
STARTED_WITHIN = 600.0
"""Maximum time for the start of a node of Ray, and of all applications, in seconds."""
TERMINATED = (0, 1, 143)
"""The exit codes of `ray start --block` after SIGTERM."""


class RayPods:
    """The pods of a release in the mode ray, each with an address of its own."""

    def __init__(self, store: ImageStore, folder: Path, root: Path, stack: ExitStack) -> None:
        self._folder, self._root, self._stack = folder, root, stack
        self._image = store.config("ray")
        self.service = of_kind("RayService", VALUES)["ray"]["spec"]
        services = {HEAD: "head"} | {f"demo-orchestrator{end}.ml.svc": "orchestrator" for end in ("", "-pods")}
        self.network = PodNetwork(f"motet{os.getpid()}", ("head", *WORKERS, "orchestrator", "test"), services)

    def container(
        self,
        pod: str,
        spec: Mapping[str, Any],
        volumes: Mapping[str, Path] | None = None,
        name: str = "",
        beside: Container | None = None,
    ) -> Container:
        """Return the only container of a pod's specification."""
        name = name or pod
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        network = self.network.of(pod)
        return Container(
            f"motet-{name}-{os.getpid()}", spec, self._root, self._image, network, folder, {}, volumes or {}, beside
        )

    def node(self, name: str) -> Container:
        """Return the container of a node of Ray, with what KubeRay adds to the chart's."""
        cluster = self.service["rayClusterConfig"]
        groups = {each["groupName"]: each for each in cluster["workerGroupSpecs"]} | {"head": cluster["headGroupSpec"]}
        spec = dict(groups[name]["template"]["spec"])
        params = {
            "metrics-export-port": "8080",
            "dashboard-agent-listen-port": "52365",
            **groups[name]["rayStartParams"],
        }
        params |= {"dashboard-host": "0.0.0.0"} if name == "head" else {"address": f"{HEAD}:6379"}
        start = " ".join(f" --{key}={value} " for key, value in params.items())
        variables = {"RAY_ADDRESS": "127.0.0.1:6379" if name == "head" else f"{HEAD}:6379", "RAY_PORT": "6379"}
        (container,) = spec["containers"]
        spec["containers"] = [
            container
            | {
                "command": ["/bin/bash", "-c", "--"],
                "args": [f"ulimit -n 65536; ray start {'--head' if name == 'head' else ''} {start} --block"],
                "env": [*container["env"], *({"name": key, "value": value} for key, value in variables.items())],
                "volumeMounts": [*container["volumeMounts"], {"name": "shared-mem", "mountPath": "/dev/shm"}],
            }
        ]
        spec["volumes"] = [*spec["volumes"], {"name": "shared-mem", "emptyDir": {"sizeLimit": "2Gi"}}]
        return self.container(name, spec)

    def start_node(self, name: str) -> Container:
        """Start a node of Ray, and wait for the probe of KubeRay."""
        node = self.node(name)
        self._stack.enter_context(node.started(TERMINATED))
        checks = [WGET.format("52365/api/local_raylet_healthz")]
        checks += [WGET.format("8265/api/gcs_healthz")] if name == "head" else []
        until_true(partial(node.succeeds, " && ".join(checks)), node)
        return node

    def deploy(self) -> None:
        """Deploy the applications as KubeRay does, and wait until they run."""
        config = json.dumps(yaml.safe_load(self.service["serveConfigV2"]))
        url = f"http://{self.network.address('head')}:8265/api/serve/applications/"
        namespace = ("ip", "netns", "exec", self.network.of("test").name, "python3", "-c")
        run(*namespace, PUT, url, config)
        statuses: dict[str, Any] = {}

        def running() -> bool:
            statuses.update(json.loads(run(*namespace, GET, url))["applications"])
            failed = [each["message"] for each in statuses.values() if each["status"] == "DEPLOY_FAILED"]
            assert not failed, "\n".join(failed)
            return bool(statuses) and {each["status"] for each in statuses.values()} == {"RUNNING"}

        until_true(running, None)
        assert statuses.keys() == set(WORKERS)

    def start_orchestrator(self) -> Container:
        """Start the sidecar of the orchestrator's pod, then the orchestrator, and wait until it is ready."""
        spec = pod_spec("orchestrator", VALUES)
        volumes = {
            each["name"]: self._stack.enter_context(volume(self._folder / each["name"])) for each in spec["volumes"]
        }
        (sidecar,) = spec["initContainers"]
        node = self.container("orchestrator", {**spec, "containers": [sidecar]}, volumes, "sidecar")
        self._stack.enter_context(node.started(TERMINATED))
        port = sidecar["startupProbe"]["tcpSocket"]["port"]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        until_true(lambda: node.execute("python", "-c", connect).returncode == 0, node)
        orchestrator = self.container("orchestrator", spec, volumes, beside=node)
        process = self._stack.enter_context(orchestrator.started())
        assert process.stdout is not None
        line = process.stdout.readline()
        assert ReadyLine.read(line) is not None, (line, (orchestrator.folder / "stderr.log").read_text()[-2000:])
        return orchestrator

    def test(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a pod of `helm test` to its end."""
        return self.container("test", of_kind("Pod", VALUES)[f"test-{name}"]["spec"]).run(ANSWERED_WITHIN)


PUT = """
import sys, urllib.request
headers = {"content-type": "application/json"}
urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), headers, method="PUT")).close()
"""
GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


@contextmanager
def volume(folder: Path) -> Iterator[Path]:
    """Mount a file system in memory that containers of a pod share."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "mode=1777,nosuid,nodev", "tmpfs", folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def until_true(condition: Any, container: Container | None) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + STARTED_WITHIN
    while not condition():
        log = "" if container is None else (container.folder / "stderr.log").read_text()[-2000:]
        assert time.monotonic() < end, log
        time.sleep(1)


def test_a_cluster_of_ray_without_rights_answers_a_request_through_an_orchestrator_beside_its_sidecar(
    store: ImageStore, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        root = stack.enter_context(store.mounted("ray"))
        pods = RayPods(store, tmp_path, root, stack)
        stack.enter_context(pods.network.up())
        nodes = [pods.start_node(name) for name in ("head", *WORKERS)]
        pods.deploy()
        for node in nodes:
            # By this, KubeRay knows whether a pod is ready. The proxy of a node starts after its first replica.
            until_true(partial(node.succeeds, WGET.format("8000/-/healthz")), node)
        refused = nodes[-1].execute("wget", "--tries", "1", "-q", "-S", "-O-", "http://localhost:8000/llm")
        assert "500 Internal Server Error" in refused.stderr, "a worker answers over HTTP"
        orchestrator = pods.start_orchestrator()
        for container in (*nodes, orchestrator):
            status = container.status()
            assert set(status["Uid"].split()) == {"10001"}
            assert {status[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0000000000000000"}
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert container.writable_files() == {"/tmp"}

        for name in ("health", "image"):
            answer = pods.test(name)
            assert answer.returncode == 0, (answer.stdout, answer.stderr)
        assert re.search(r"\S+\.png", answer.stdout)
