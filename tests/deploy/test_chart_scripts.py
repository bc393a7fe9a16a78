"""The Python programs of the job that fills the claim of weights, the pods of `helm test`, and the notes."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from motet.core.bundle import MANIFEST
from services.cli.connect import ConnectionSettings
from tests.deploy.chart import ROOT, ci_values, environment, files, of_kind, pod_spec

HYDRATED = ci_values("multi-node")
NANO = ROOT / "bundles" / "nano"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle with small files, whose sha256 its manifest lists."""
    lines = (NANO / MANIFEST).read_text().split("\nfiles:")[0]
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "config.json").write_text("{}")
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    (tmp_path / MANIFEST).write_text(f"{lines}\nfiles:\n  llm/config.json: sha256:{digest}\n")
    return tmp_path


def verify(bundle: Path, digest: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the job's program on a folder."""
    (job,) = of_kind("Job", HYDRATED).values()
    container = job["spec"]["template"]["spec"]["containers"][0]
    _, option, script = container["command"]
    _, _, mark = (argument.replace("/weights", str(bundle)) for argument in container["args"])
    found = sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    return subprocess.run(
        [sys.executable, option, script, str(bundle), digest or found, mark], capture_output=True, text=True, cwd=ROOT
    )


def marks(bundle: Path) -> list[str]:
    """Return the names of the marks that the job left."""
    return [path.name for path in bundle.glob(".verified-*")]


def test_the_job_leaves_its_mark_when_all_files_are_complete(bundle: Path) -> None:
    done = verify(bundle)

    assert (done.returncode, done.stdout) == (0, "nano: 1 files are complete\n")
    assert marks(bundle) == [f".verified-{HYDRATED['weights']['hydrated']['digest']}"]
    assert verify(bundle).returncode == 0  # The mark is no part of the bundle.


def test_the_job_refuses_a_changed_file(bundle: Path) -> None:
    (bundle / "llm" / "config.json").write_text("{ }")

    done = verify(bundle)

    assert done.returncode != 0
    assert "llm/config.json" in done.stderr
    assert marks(bundle) == []


def test_the_job_refuses_another_bundle(bundle: Path) -> None:
    done = verify(bundle, "0" * 64)

    assert done.returncode != 0
    assert "correct weights.hydrated.digest or the download" in done.stderr
    assert marks(bundle) == []


def test_pods_wait_for_the_mark_of_the_job(tmp_path: Path) -> None:
    (job,) = of_kind("Job", HYDRATED).values()
    for name in of_kind("Deployment", HYDRATED):
        (wait,) = pod_spec(name, HYDRATED)["initContainers"]
        assert wait["args"] == [job["spec"]["template"]["spec"]["containers"][0]["args"][2]]
    (tmp_path / "mark").touch()
    _, option, script = wait["command"]

    subprocess.run([sys.executable, option, script, str(tmp_path / "mark")], check=True, timeout=90)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, option, script, str(tmp_path / "none")], timeout=0.5, capture_output=True)


def test_the_download_can_write_to_the_claim_and_services_cannot() -> None:
    (job,) = of_kind("Job", HYDRATED).values()
    spec = job["spec"]["template"]["spec"]

    assert "readOnly" not in str(spec["initContainers"][0]["volumeMounts"])
    assert spec["initContainers"][0]["args"] == HYDRATED["weights"]["hydrated"]["fetch"]["args"]
    assert spec["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "object-store"}}]
    assert environment("image", HYDRATED)["MOTET_BUNDLE"] == "/weights"


def test_each_modality_with_a_prompt_has_a_test() -> None:
    assert of_kind("Pod").keys() == {"test-health", "test-image", "test-audio", "test-video"}
    for pod in of_kind("Pod").values():
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_the_test_of_health_waits_for_an_orchestrator_that_has_not_reached_all_workers() -> None:
    statuses = [503, 503, 200]

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0))
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    _, option, script = of_kind("Pod")["test-health"]["spec"]["containers"][0]["command"]
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/health?service=motet.v1/image"
            subprocess.run([sys.executable, option, script, url], check=True, timeout=90, capture_output=True)
        finally:
            server.shutdown()

    assert statuses == []


def test_tests_show_their_own_certificate() -> None:
    pod = of_kind("Pod")["test-image"]["spec"]

    assert {"--tls-ca=/etc/motet/tls/ca.crt", "--server=demo-orchestrator.ml.svc:50050"} <= {
        *pod["containers"][0]["args"]
    }
    secret = next(each["secret"] for each in pod["volumes"] if each["name"] == "tls")
    assert secret["secretName"] == of_kind("Certificate")["test"]["spec"]["secretName"]


def test_tests_send_the_key_of_their_secret() -> None:
    pod = of_kind("Pod", HYDRATED)["test-image"]["spec"]
    (volume,) = [each["secret"] for each in pod["volumes"] if each["name"] == "key"]
    (mount,) = [each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "key"]

    assert volume == {"secretName": "motet-test-key", "defaultMode": 0o440}
    assert f"--key-file={mount}/key" in pod["containers"][0]["args"]
    assert "key_file" in ConnectionSettings.model_fields


def test_without_a_key_only_the_health_is_tested_and_the_notes_state_it() -> None:
    values: dict[str, Any] = ci_values("air-gapped")

    assert of_kind("Pod", values).keys() == {"test-health"}
    assert "set tests.apiKey.secretName" in files(values)["NOTES.txt"]


def test_tests_can_be_switched_off() -> None:
    rendered = of_kind("Pod", {"tests": {"enabled": False}})

    assert rendered == {}
    assert "test" not in of_kind("ServiceAccount", {"tests": {"enabled": False}})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (ci_values("cpu-nano"), "connections are not encrypted"),
        ({"networkPolicy": {"enabled": False}}, "every pod of the cluster may connect to every component"),
        (ci_values("multi-node"), "has to reach the same pod"),
        (ci_values("ray"), "nodes of Ray connect to each other without encryption and without a token"),
    ],
)
def test_the_notes_warn_of_what_is_open(values: dict[str, Any], sentence: str) -> None:
    assert sentence in files(values)["NOTES.txt"]
    assert sentence not in files({})["NOTES.txt"]


def test_the_notes_list_each_worker() -> None:
    notes = files(HYDRATED)["NOTES.txt"]

    assert "decoder of video, 4 pods, a GPU each" in notes
    assert "decoder of film, 1 pods, CPU" in notes


@pytest.mark.parametrize("name", ["cpu-nano", "ray"])
def test_the_notes_name_objects_of_the_release(name: str) -> None:
    values = ci_values(name)
    notes = files(values)["NOTES.txt"]
    services = {each["metadata"]["name"] for each in of_kind("Service", values).values()}
    labels = [each["metadata"]["labels"] for each in of_kind("Deployment", values).values()]

    host, port = re.findall(r"^  orchestrator +(\S+)\.ml\.svc:(\d+)$", notes, re.MULTILINE)[0]
    assert host in services
    assert int(port) == of_kind("Service", values)["orchestrator"]["spec"]["ports"][0]["port"]
    (selected,) = re.findall(r"--selector (\S+)=(\S+)$", notes, re.MULTILINE)
    assert all(selected in each.items() for each in labels)
    clusters = {each["metadata"]["name"] for each in of_kind("RayService", values).values()}
    assert set(re.findall(r"get rayservice (\S+)$", notes, re.MULTILINE)) == clusters
