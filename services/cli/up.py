"""`motet up`: options of a local deployment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import BaseModel, Field

from motet.transport.address import check_free
from services.cli.checks.environment import check_service_settings
from services.cli.commands import Command
from services.cli.exit import exit_after
from services.cli.typer_options import options_of, values_of, with_options
from services.exit_codes import Exit
from services.pairs import pairs
from services.settings import ProcessSettings, settings_of
from services.up.deployment import deployment_of
from services.up.run import up as run_deployment

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class UpOptions(BaseModel):
    """Options of `motet up`, besides those of every process."""

    port: int = Field(50050, ge=0, le=65535, description="Port of the orchestrator. 0 takes a free port.")
    replicas: Annotated[Mapping[str, int], pairs("WORKER=NUMBER")] = Field(
        {},
        description="Number of replicas of a worker: encoder, llm, or a decoder's modality.",
        json_schema_extra={"metavar": "WORKER=N"},
    )
    background: bool = Field(True, description="Run decoders at low CPU priority.")


@app.command(cls=Command)
@with_options(options_of(UpOptions), options_of(ProcessSettings))
def up(**options: Any) -> None:
    """Run a deployment until Ctrl-C or SIGTERM."""

    def run() -> Exit:
        process = settings_of(ProcessSettings, values_of(ProcessSettings, options))
        up_options = settings_of(UpOptions, values_of(UpOptions, options))
        deployment = deployment_of(**process.model_dump(), **up_options.model_dump())
        check_service_settings()
        check_free(f"127.0.0.1:{up_options.port}")
        return asyncio.run(run_deployment(deployment))

    raise exit_after(run)
