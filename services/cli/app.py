"""The command line: what can be typed, and nothing else. Each command's work is in a file of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

try:
    import typer
except ModuleNotFoundError:
    # The base install is the Python client's.
    raise SystemExit("motet: the command line is not installed: pip install 'motet[models]'") from None

from services.cli.attach_options import ATTACH_OPTIONS, attachments_of
from services.cli.bench_commands import app as bench
from services.cli.serve_commands import serving
from services.cli.typer_options import with_options
from services.exit_codes import LEGEND

app = typer.Typer(
    name="motet",
    help="Answer prompts with any mix of text and media: on this machine, or through services of your own.",
    epilog=LEGEND,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Server = Annotated[
    str | None, typer.Option(metavar="ADDR", help="Ask the orchestrator at host:port; otherwise Motet runs right here.")
]
BundleName = Annotated[
    str, typer.Option(metavar="DIR", envvar="MOTET_BUNDLE", help="The folder of a bundle, or a shipped one's name.")
]
Threads = Annotated[int, typer.Option(min=1, envvar="MOTET_THREADS", help="Threads that each worker computes on.")]
Device = Annotated[
    str, typer.Option(envvar="MOTET_DEVICE", help="auto (a GPU where there is one), cpu, cuda, or cuda:NUMBER.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where files go, numbered on from those that are there.")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**64 - 1, help="The same seed makes the same files; otherwise one is drawn.")
]
Timeout = Annotated[float | None, typer.Option(min=0.001, metavar="SECONDS", help="Give up after so long.")]
Only = Annotated[
    str | None, typer.Option(metavar="MODALITIES", help="Make no other media, comma-separated; 'text' for none at all.")
]
Steps = Annotated[list[str] | None, typer.Option(metavar="M=N", help="Denoising steps for a modality.")]
Guidance = Annotated[list[str] | None, typer.Option(metavar="M=X", help="Guidance scale for a modality; 1 is none.")]
MinSteps = Annotated[
    list[str] | None,
    typer.Option(metavar="M=N", help="Take fewer steps, but no fewer, rather than be late for the timeout."),
]
Priority = Annotated[int, typer.Option(min=-2, max=2, help="Who goes first where many wait: from -2, can wait, to 2.")]
Replicas = Annotated[
    list[str] | None,
    typer.Option(metavar="M=N", help="How many decoders of a modality, or 'encoder' or 'llm', to run."),
]
Background = Annotated[
    bool,
    typer.Option(
        "--background/--no-background", help="Decoders leave the processors to the text where both want them."
    ),
]
Attach = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Attach a file, whatever kind it is.")]
Json = Annotated[bool, typer.Option("--json", help="Write events as JSON lines, for programs.")]
Toy = Annotated[bool, typer.Option("--toy", envvar="MOTET_TOY", help="Use workers without weights, to try the rest.")]
ToyDelay = Annotated[float, typer.Option(min=0, envvar="MOTET_TOY_DELAY", hidden=True)]


app.add_typer(serving)
app.add_typer(bench)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"motet {version('motet')}")
        raise typer.Exit


@app.callback()
def motet(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Answer prompts with any mix of text and media."""
    import os

    # gRPC writes lines of its own to standard error when a peer goes away; what matters arrives as an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@app.command(epilog=LEGEND)
@with_options(ATTACH_OPTIONS)
def run(
    prompt: Annotated[str, typer.Argument(help="What is wanted, in words; '-' reads it from standard input.")],
    attach: Attach = None,
    out: Out = Path("motet-out"),
    seed: Seed = None,
    as_json: Json = False,
    server: Server = None,
    bundle: BundleName = "nano",
    only: Only = None,
    steps: Steps = None,
    guidance: Guidance = None,
    timeout: Timeout = None,
    min_steps: MinSteps = None,
    priority: Priority = 0,
    threads: Threads = 1,
    device: Device = "auto",
    toy: Toy = False,
    toy_delay: ToyDelay = 0.0,
    **attached: Any,
) -> None:
    """Answer one prompt: text to standard output as it is written, media to files as they are done."""
    import asyncio

    from motet.core.errors import MotetError
    from services.cli.connect import Target
    from services.cli.exit import exit_after, refuse
    from services.cli.request_options import prompt_of, request_options_of
    from services.cli.run import run as answer

    try:
        said = prompt_of(prompt)
        attachments = attachments_of(attached, attach)
        wishes = request_options_of(seed, timeout, only, steps or (), guidance or (), min_steps or (), priority)
    except MotetError as error:
        raise refuse(error, as_json) from None
    whereabouts = Target(server, bundle, threads, toy, toy_delay, device)
    raise exit_after(lambda: asyncio.run(answer(said, attachments, wishes, out, whereabouts, as_json)), as_json)


@app.command(epilog=LEGEND)
def chat(
    out: Out = Path("motet-out"),
    seed: Seed = None,
    server: Server = None,
    bundle: BundleName = "nano",
    only: Only = None,
    steps: Steps = None,
    guidance: Guidance = None,
    timeout: Timeout = None,
    min_steps: MinSteps = None,
    priority: Priority = 0,
    threads: Threads = 1,
    device: Device = "auto",
    toy: Toy = False,
    toy_delay: ToyDelay = 0.0,
) -> None:
    """Talk in turns; earlier turns and their media stay part of the conversation. Type /help for what else there is."""
    from motet.core.errors import MotetError
    from services.cli.chat import chat as talk
    from services.cli.connect import Target
    from services.cli.exit import exit_after, refuse
    from services.cli.request_options import request_options_of

    try:
        wishes = request_options_of(seed, timeout, only, steps or (), guidance or (), min_steps or (), priority)
    except MotetError as error:
        raise refuse(error) from None
    raise exit_after(lambda: talk(wishes, out, Target(server, bundle, threads, toy, toy_delay, device)))


@app.command(epilog=LEGEND)
def models(server: Server = None, bundle: BundleName = "nano", as_json: Json = False, toy: Toy = False) -> None:
    """Say which models there are, what they read and what they make."""
    import asyncio

    from services.cli.connect import Target
    from services.cli.exit import exit_after
    from services.cli.models import models as tell

    raise exit_after(lambda: asyncio.run(tell(Target(server, bundle, toy=toy), as_json)), as_json)


@app.command(epilog=LEGEND)
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The orchestrator's port; 0 takes a free one.")] = 50050,
    bundle: BundleName = "nano",
    replicas: Replicas = None,
    background: Background = True,
    threads: Threads = 1,
    toy: Toy = False,
    toy_delay: ToyDelay = 0.0,
) -> None:
    """Run every service of a bundle as processes of this machine, until Ctrl-C drains them."""
    import asyncio

    from services.cli.exit import exit_after
    from services.up import deployment_of
    from services.up import up as start

    raise exit_after(
        lambda: asyncio.run(
            start(deployment_of(bundle, port, threads, toy, toy_delay, replicas or (), background=background))
        )
    )
