"""`motet serve`: what can be typed to run one service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.typer_options import with_options
from services.exit_codes import LEGEND

if TYPE_CHECKING:
    from services.serve import Service

serving = typer.Typer(
    name="serve",
    help="Run one service until SIGTERM or Ctrl-C, then drain it. Variables called MOTET_* set what no option does.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Listen = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to serve; port 0 takes a free one.")]
Metrics = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where Prometheus reads; port 0: a free one.")]
BundleName = Annotated[str | None, typer.Option(metavar="DIR", help="The folder of a bundle, or a shipped one's name.")]
Threads = Annotated[int | None, typer.Option(help="Threads that the worker computes on.")]
Background = Annotated[bool | None, typer.Option("--background", help="Leave the processors to others who want them.")]
Anywhere = Annotated[bool | None, typer.Option("--anywhere", help="Serve beyond this machine, unencrypted.")]
Toy = Annotated[bool | None, typer.Option("--toy", help="Serve without weights.")]
ToyDelay = Annotated[float | None, typer.Option(hidden=True)]
Device = Annotated[str | None, typer.Option(help="auto (a GPU where there is one), cpu, cuda, or cuda:NUMBER.")]
KvTokens = Annotated[int | None, typer.Option(help="Tokens that there is memory for; answers that find no room wait.")]
PrefixTokens = Annotated[
    int | None, typer.Option(help="Tokens remembered of what conversations begin with; 0 remembers none.")
]
PassTokens = Annotated[
    int | None, typer.Option(help="Tokens that go through the network at once: longer prompts are read in parts.")
]
ExitWithParent = Annotated[bool, typer.Option("--exit-with-parent", hidden=True)]
Modality = Annotated[str | None, typer.Option(metavar="M", help="What it makes: one of the bundle's modalities.")]
BatchTolerance = Annotated[
    float | None, typer.Option(help="How far jobs that share a step may move each other's numbers.")
]
Address = Annotated[
    list[str] | None, typer.Option(metavar="ADDR", help="Where this worker serves; again for each replica of it.")
]
Decoders = Annotated[
    list[str] | None,
    typer.Option(
        "--decoder", metavar="M=ADDR", help="A modality, and where its decoder serves; again for each replica of it."
    ),
]

_COMMON: Mapping[str, tuple[Any, Any]] = {
    "listen": (Listen, None),
    "metrics": (Metrics, None),
    "bundle": (BundleName, None),
    "threads": (Threads, None),
    "background": (Background, None),
    "anywhere": (Anywhere, None),
    "toy": (Toy, None),
    "toy_delay": (ToyDelay, None),
    "exit_with_parent": (ExitWithParent, False),
}
_WORKER: Mapping[str, tuple[Any, Any]] = {**_COMMON, "device": (Device, None)}


@serving.command(epilog=LEGEND)
@with_options(_WORKER)
def encoder(**given: Any) -> None:
    """Serve the encoder: media in, embeddings out."""
    from services.encoder.service import encoder_service

    _serve(encoder_service, given)


@serving.command(epilog=LEGEND)
@with_options(_WORKER)
def llm(
    kv_tokens: KvTokens = None, prefix_tokens: PrefixTokens = None, pass_tokens: PassTokens = None, **given: Any
) -> None:
    """Serve the language model: a conversation in, text and signals out."""
    from services.llm.service import language_model_service

    budget = {"kv_tokens": kv_tokens, "prefix_tokens": prefix_tokens, "pass_tokens": pass_tokens}
    _serve(language_model_service, given | budget)


@serving.command(epilog=LEGEND)
@with_options(_WORKER)
def decoder(modality: Modality = None, batch_tolerance: BatchTolerance = None, **given: Any) -> None:
    """Serve a decoder: conditioning in, media of one modality out."""
    from services.decoder.service import decoder_service

    _serve(decoder_service, given | {"modality": modality, "batch_tolerance": batch_tolerance})


@serving.command(epilog=LEGEND)
@with_options(_COMMON)
def orchestrator(
    encoder: Address = None, language_model: Address = None, decoders: Decoders = None, **given: Any
) -> None:
    """Serve Motet itself: prompts in, any mix of text and media out. It needs the addresses of all workers."""
    from services.orchestrator.service import orchestrator_service

    workers = {"encoder": encoder, "language_model": language_model, "decoders": decoders}
    _serve(orchestrator_service, given | workers)


def _serve(service_of: Callable[[dict[str, Any]], Service], given: dict[str, Any]) -> None:
    import asyncio

    from motet.core.errors import MotetError
    from services.cli.exit import exit_after, refuse
    from services.logs import configure_logs
    from services.parent_watch import exit_with_parent
    from services.serve import serve

    if given.pop("exit_with_parent"):
        exit_with_parent()
    try:
        service = service_of(given)
        configure_logs(service.settings.log_level)
    except MotetError as error:
        raise refuse(error) from None
    raise exit_after(lambda: asyncio.run(serve(service)))
