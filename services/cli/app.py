"""The `motet` command and the list of its commands."""

from __future__ import annotations

from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    # The base install has only the Python client.
    raise SystemExit("motet: the command line is not installed: pip install 'motet[models]'") from None

from services.cli.commands import HELP_OPTIONS, LazyGroup

app = typer.Typer(
    name="motet",
    cls=LazyGroup,
    help="Answer prompts with any mix of text and media, on this machine or through your own services.",
    context_settings=HELP_OPTIONS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"motet {version('motet')}")
        raise typer.Exit


@app.callback()
def motet(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up the process of any command."""
    import os

    # gRPC's own log lines repeat errors that Motet reports.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@app.command()
def run() -> typer.Typer:
    """Answer one prompt. Text streams to standard output, and each media file is written when complete."""
    from services.cli.run import app

    return app


@app.command()
def explain() -> typer.Typer:
    """Show where the time of a generation went: the calls of workers, their waits, and the critical path."""
    from services.cli.timeline.explain import app

    return app


@app.command()
def chat() -> typer.Typer:
    """Answer prompts in turns. Earlier turns and their media stay in the conversation. /help lists the commands."""
    from services.cli.chat import app

    return app


@app.command()
def models() -> typer.Typer:
    """List the models, with their input and output modalities."""
    from services.cli.models import app

    return app


@app.command()
def up() -> typer.Typer:
    """Run all services of a bundle as processes of this machine. Ctrl-C drains and stops them."""
    from services.cli.up import app

    return app


@app.command()
def top() -> typer.Typer:
    """Show the load of a deployment as it runs: its modalities, pools, replicas and processes. Ctrl-C ends the view."""
    from services.cli.top.command import app

    return app


@app.command()
def serve() -> typer.Typer:
    """Run one service. SIGTERM or Ctrl-C drains and stops it."""
    from services.cli.serve_commands import app

    return app


@app.command()
def keys() -> typer.Typer:
    """Create, list and revoke the API keys of an orchestrator. The file has digests, and no key."""
    from services.cli.keys.commands import app

    return app


@app.command()
def cluster() -> typer.Typer:
    """Show, scale, drain and check deployments on a Kubernetes cluster."""
    from services.cli.cluster.commands import app

    return app


@app.command()
def protos() -> typer.Typer:
    """Write the .proto files of the gRPC API with their imports, and a descriptor set, for other languages."""
    from services.cli.protos import app

    return app


@app.command()
def bench() -> typer.Typer:
    """Run a benchmark on this machine. The exit code is 1 if a figure misses its bar."""
    from services.cli.bench.commands import app

    return app
