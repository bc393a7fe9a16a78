"""The endpoints of a `motet up` of this user on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from motet.core.errors import SettingsError
from services.cli.top.endpoint import MetricsEndpoint
from services.cli.top.http import http_endpoint
from services.up.run_file import RunningDeployment, running_deployments


class LocalEndpoints:
    """The endpoints of a running `motet up`, by default of the only one. `port` is that of its orchestrator.

    If the deployment ends, its endpoints stay until a `motet up` has the port.
    """

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._known: Sequence[MetricsEndpoint] = ()

    async def endpoints(self) -> Sequence[MetricsEndpoint]:
        """Return the endpoints. Raises `SettingsError` if no deployment or several ones run at the beginning."""
        running = running_deployments()
        if not self._known:
            deployment = _chosen(running, self._port)
            self._port = deployment.port
        else:
            found = [each for each in running if each.port == self._port]
            if not found:
                return self._known
            deployment = found[0]
        self._known = [http_endpoint(name, line.metrics) for name, line in deployment.services.items()]
        return self._known


def _chosen(running: Sequence[RunningDeployment], port: int | None) -> RunningDeployment:
    ports = ", ".join(str(each.port) for each in running)
    if not running:
        raise SettingsError(
            "no `motet up` of this user runs on this machine: start it, name the addresses of metrics, or add "
            "--release or --namespace for a cluster"
        )
    if port is not None:
        running = [each for each in running if each.port == port]
        if not running:
            raise SettingsError(f"no `motet up` of this user has the port {port}: set --port to one of {ports}")
    elif len(running) > 1:
        raise SettingsError(f"several deployments run on this machine: set --port to one of {ports}")
    return running[0]
