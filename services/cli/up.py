"""`motet up`: options of a local deployment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from pydantic import BaseModel, Field

from motet.core.errors import SettingsError
from motet.transport.address import check_free
from services.cli.checks.environment import check_service_settings
from services.cli.commands import Command
from services.cli.exit import exit_after
from services.cli.typer_options import options_of, values_of, with_options
from services.exit_codes import Exit
from services.pairs import pairs
from services.settings import ProcessSettings, settings_of
from services.terminal import print_status
from services.up.deployment import MAX_PORT, Deployment, deployment_of
from services.up.run import up as run_deployment

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class UpOptions(BaseModel):
    """Options of `motet up`, besides those of every process."""

    port: int = Field(50050, ge=0, le=MAX_PORT, description="Port of the orchestrator. 0 takes a free port.")
    metrics_port: int = Field(
        0,
        ge=0,
        le=MAX_PORT,
        description="Port of the orchestrator's metrics. The workers' metrics have the ports after it, in the order of "
        "the table that is printed. 0 takes free ports.",
    )
    replicas: Annotated[Mapping[str, int], pairs("WORKER=NUMBER")] = Field(
        {},
        description="Number of replicas of a worker: encoder, llm, or a decoder's modality.",
        json_schema_extra={"metavar": "WORKER=N"},
    )
    background: bool = Field(True, description="Run decoders at low CPU priority.")
    ray: bool = Field(False, description="Run the workers in Ray Serve, in a cluster of this machine.")
    tls: bool = Field(
        False, description="Encrypt all connections, with a new authority and a new certificate for each service."
    )


@app.command(cls=Command)
@with_options(options_of(UpOptions), options_of(ProcessSettings))
def up(**options: Any) -> None:
    """Run a deployment until Ctrl-C or SIGTERM."""

    def run() -> Exit:
        _remove_tls_variables()
        process = settings_of(ProcessSettings, values_of(ProcessSettings, options))
        up_options = settings_of(UpOptions, values_of(UpOptions, options))
        if up_options.ray and up_options.tls:
            raise SettingsError("--tls has no effect on Ray's own connections: remove --tls or --ray")
        deployment = deployment_of(**process.model_dump(), **up_options.model_dump(exclude={"ray", "tls"}))
        check_service_settings()
        if up_options.ray:
            from services.ray.deployment import RayDeployment
            from services.ray.local_cluster import local_cluster

            in_ray = RayDeployment.of(deployment)
            _check_ports(in_ray)
            with local_cluster(in_ray.ray_workers):
                return asyncio.run(run_deployment(in_ray))
        _check_ports(deployment)
        if not up_options.tls:
            return asyncio.run(run_deployment(deployment))
        # Only this user can read the folder, and it is removed at the end.
        with TemporaryDirectory(prefix="motet-tls-") as folder:
            from services.up.certificates import DeploymentCertificates

            certificates = DeploymentCertificates(Path(folder))
            return asyncio.run(run_deployment(replace(deployment, certificates=certificates)))

    raise exit_after(run)


def _check_ports(deployment: Deployment) -> None:
    """Raise `SettingsError` if another process listens at a port that the deployment needs."""
    for port in deployment.ports():
        check_free(f"127.0.0.1:{port}")


def _remove_tls_variables() -> None:
    """Remove the variables of certificates, which the services would inherit. `--tls` alone decides about TLS here."""
    for name in [name for name in os.environ if name.startswith("MOTET_TLS_")]:
        del os.environ[name]
        print_status(f"{name} has no effect on motet up: --tls makes its certificates")
