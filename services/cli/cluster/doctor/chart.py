"""The objects of a chart, rendered by Helm for the version of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motet.core.concurrent.processes import kill_process
from motet.core.errors import SettingsError
from services.cli.cluster.doctor.devices import devices_of

if TYPE_CHECKING:
    from services.cli.cluster.api import Json

_TIMEOUT = 120.0
"""Maximum time to render a chart, which Helm may have to download, in seconds."""


class RenderError(Exception):
    """Helm refuses the chart, its values, or the version of Kubernetes."""


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Equal pods that the chart makes. `spec` is their specification, without defaults of the API server."""

    name: str
    pods: int
    spec: Json

    def devices(self) -> Mapping[str, int]:
        """Return the number of devices in each pod by the name of the resource, such as nvidia.com/gpu."""
        return devices_of(self.spec)


@dataclass(frozen=True, slots=True)
class ChartRequest:
    """A chart in any form that Helm accepts, and the files of its values."""

    chart: str
    values: Sequence[Path]
    release: str


async def rendered(request: ChartRequest, namespace: str, version: str) -> list[Json]:
    """Return the objects of a release, those of `helm test` included.

    Raises `RenderError` with the message of Helm, and `SettingsError` if Helm is not installed.
    """
    import yaml

    options = [option for file in request.values for option in ("--values", str(file))]
    command = ["helm", "template", request.release, request.chart, "--namespace", namespace]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--kube-version",
            version,
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise SettingsError(
            f"helm cannot be run: {error.strerror}; install Helm, which the installation needs, into a folder of PATH"
        ) from None
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, errors = await process.communicate()
    except TimeoutError:
        raise RenderError(f"helm did not answer within {_TIMEOUT:.0f} seconds") from None
    finally:
        await kill_process(process)
    if process.returncode:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        raise RenderError(" ".join(line.strip() for line in lines) or f"helm ended with {process.returncode}")
    try:
        objects = [each for each in yaml.load_all(output, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if each]
        if not objects or not all({"apiVersion", "kind", "metadata"} <= each.keys() for each in objects):
            raise RenderError("helm printed no objects of Kubernetes")
    except (yaml.YAMLError, AttributeError):
        raise RenderError("helm printed no objects of Kubernetes") from None
    return objects


def pod_groups(objects: Sequence[Json]) -> list[PodGroup]:
    """Return the pods of all Deployments and Jobs, without those of Deployments with 0 replicas."""
    groups = []
    for each in objects:
        if each["kind"] in ("Deployment", "Job"):
            pods = int(each["spec"].get("replicas", 1)) if each["kind"] == "Deployment" else 1
            groups.append(PodGroup(each["metadata"]["name"], pods, each["spec"]["template"]["spec"]))
    return [group for group in groups if group.pods]
