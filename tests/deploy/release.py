"""A release of the chart as processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from services.ready_line import ReadyLine
from services.up.certificate_authority import CertificateAuthority
from tests.deploy.chart import environment, of_kind, pod_spec
from tests.services.command import CLEAN, TIMEOUT, started

SECRETS = "/etc/motet/tls"
"""The folder of the certificates in a container."""

LOG_LEVELS = "/etc/motet/log-levels"
"""The folder of the levels of log lines in a container."""


@dataclass(frozen=True)
class Release:
    """The values of a release, and the addresses of its running components by their host names in the cluster.

    `log_levels` has the file of the levels of log lines. `secrets` has a folder of certificates for each component, if
    the release has certificates.
    """

    values: Mapping[str, Any]
    log_levels: Path
    secrets: Path | None = None
    addresses: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def authority(self) -> bytes:
        """The certificate of the authority of the release."""
        assert self.secrets is not None
        return (self.secrets / "test" / "ca.crt").read_bytes()

    def here(self, text: str, component: str) -> str:
        """Return the text with the addresses and files of this machine in place of those in the cluster."""
        for host, address in self.addresses.items():
            text = text.replace(f"dns:///{host}:50050", address).replace(f"{host}:50050", address)
        for host, address in self.metrics.items():
            text = text.replace(f"{host}:9464", address)
        return text.replace(SECRETS, f"{self.secrets}/{component}").replace(LOG_LEVELS, str(self.log_levels))

    def run_test(self, name: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run the program of a pod of `helm test`. Its files are in `folder`."""
        container = of_kind("Pod", self.values)[f"test-{name}"]["spec"]["containers"][0]
        _, option, script = container["command"]
        motet = folder / "motet"
        motet.write_text(f"#!{sys.executable}\nfrom services.cli.app import app\napp()\n")
        motet.chmod(0o755)
        paths = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        script = self.here(script.replace("/tmp/out", str(folder / "out")), "test")
        arguments = [self.here(argument, "test") for argument in container["args"]]
        return subprocess.run(
            [sys.executable, option, script, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=CLEAN | paths,
        )


@contextmanager
def running(values: Mapping[str, Any], secrets: Path | None = None) -> Iterator[Release]:
    """Start each component with its command and its variables in the chart, except the ports that it serves on."""
    if secrets is not None:
        issue_all(values, secrets)
    with ExitStack() as stack:
        log_levels = Path(stack.enter_context(TemporaryDirectory()))
        (log_levels / "levels").write_text(of_kind("ConfigMap", values)["log-levels"]["data"]["levels"])
        release = Release(values, log_levels, secrets)
        for name in sorted(of_kind("Deployment", values), key=lambda name: name == "orchestrator"):
            variables = {key: release.here(value, name) for key, value in environment(name, values).items()}
            # The addresses of the chart with free ports. A service that would be open to the network does not start.
            variables |= {key: f"{variables[key].rpartition(':')[0]}:0" for key in ("MOTET_LISTEN", "MOTET_METRICS")}
            settings = {key.removeprefix("MOTET_"): value for key, value in variables.items() if key != "HOME"}
            command = pod_spec(name, values)["containers"][0]["command"]
            process = stack.enter_context(started(*command[1:], **settings))
            assert process.stdout is not None
            line = ReadyLine.read(process.stdout.readline())
            assert line is not None, process.communicate()
            address, metrics = (each.replace("0.0.0.0:", "127.0.0.1:") for each in (line.address, line.metrics))
            release.addresses[f"demo-{name}.ml.svc"] = address
            release.metrics[f"demo-{name}.ml.svc"] = release.metrics[f"demo-{name}-pods.ml.svc"] = metrics
        yield release


def issue_all(values: Mapping[str, Any], secrets: Path) -> None:
    """Write the secret of each Certificate of the chart, as cert-manager does, with the address of this machine."""
    secrets.mkdir(exist_ok=True)
    authority = CertificateAuthority(secrets)
    for name, certificate in of_kind("Certificate", values).items():
        spec = certificate["spec"]
        if spec.get("isCA"):
            continue
        folder = secrets / name
        folder.mkdir()
        pair = authority.issue(name, uris=spec.get("uris", ()), hosts=(*spec["dnsNames"], "127.0.0.1"))
        pair.certificate.rename(folder / "tls.crt")
        pair.key.rename(folder / "tls.key")
        (folder / "ca.crt").write_bytes(authority.certificate.read_bytes())
