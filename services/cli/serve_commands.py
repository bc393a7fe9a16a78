"""`motet serve`: one command for each kind of service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.commands import Command, Group
from services.cli.exit import exit_after
from services.cli.typer_options import Options, options_of, with_options
from services.decoder.settings import DecoderSettings
from services.encoder.settings import EncoderSettings
from services.exit_codes import Exit
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings

if TYPE_CHECKING:
    from services.serve import Service

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

_PARENT: Options = {
    "exit_with_parent": (
        Annotated[bool, typer.Option("--exit-with-parent", hidden=True, help="Stop when standard input ends.")],
        False,
    )
}


@app.command(cls=Command)
@with_options(options_of(EncoderSettings), _PARENT)
def encoder(**options: Any) -> None:
    """Serve the encoder: media in, embeddings out."""
    from services.encoder.service import encoder_service

    _serve(encoder_service, options)


@app.command(cls=Command)
@with_options(options_of(LanguageModelSettings), _PARENT)
def llm(**options: Any) -> None:
    """Serve the language model: a conversation in, text and signals out."""
    from services.llm.service import language_model_service

    _serve(language_model_service, options)


@app.command(cls=Command)
@with_options(options_of(DecoderSettings), _PARENT)
def decoder(**options: Any) -> None:
    """Serve a decoder: conditioning in, media of one modality out."""
    from services.decoder.service import decoder_service

    _serve(decoder_service, options)


@app.command(cls=Command)
@with_options(options_of(OrchestratorServiceSettings, decoders="--decoder"), _PARENT)
def orchestrator(**options: Any) -> None:
    """Serve the orchestrator: prompts in, any mix of text and media out. It needs the addresses of all workers."""
    from services.orchestrator.service import orchestrator_service

    _serve(orchestrator_service, options)


def _serve(service_of: Callable[[dict[str, Any]], Service], options: dict[str, Any]) -> None:
    from motet.media.confinement.dumpable import forbid_dumps
    from services.logs.lines import configure_logs
    from services.parent_watch import exit_with_parent
    from services.serve import serve

    if options.pop("exit_with_parent"):
        exit_with_parent()

    def run() -> Exit:
        service = service_of(options)
        configure_logs(service.settings.log_level, service.name)
        if not service.settings.allow_debuggers:
            forbid_dumps()
        return asyncio.run(serve(service))

    raise exit_after(run)
