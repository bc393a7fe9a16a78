"""`motet bench`: what can be typed to measure something. Each benchmark is the `measure` of a module of its own.

Nothing here imports one before it is asked for. A new benchmark is a module with `measure(...) -> Report` and a command
below that hands it its settings:

    @app.command()
    @with_options(REPORTED)
    def tempo(rounds: Rounds = 5, **reported: Any) -> None:
        # its docstring is its help
        raise run("tempo", {"rounds": rounds}, **reported)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.typer_options import with_options

app = typer.Typer(
    name="bench",
    help="Measure Motet on this machine. A command exits with 1 where a figure misses its bar.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report to this file, as JSON.")]

REPORTED: Mapping[str, tuple[Any, Any]] = {"as_json": (Json, False), "out": (Out, None)}
"""Options of every benchmark: they come in a command's `**reported`."""


Requests = Annotated[int, typer.Option(min=1, help="Requests one after another.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds in which the candidates take turns.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at a time.")]


@app.command()
@with_options(REPORTED)
def orchestrator(
    requests: Requests = 300,
    rounds: Rounds = 20,
    plans: Annotated[int, typer.Option(min=1, help="Plans in a round.")] = 60,
    concurrency: Concurrency = 8,
    **reported: Any,
) -> None:
    """What orchestration costs: its overhead over instant workers, and plans per second against bare stubs."""
    settings = {"requests": requests, "rounds": rounds, "plans": plans, "concurrency": concurrency}
    raise run("orchestrator_overhead", settings, **reported)


BundleName = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="The folder of a bundle, or a shipped one's name; otherwise toys play."),
]
Shipped = Annotated[str, typer.Option(metavar="DIR", help="The folder of a bundle, or a shipped one's name.")]
Seconds = Annotated[float, typer.Option(min=0.1, help="Seconds of load.")]
Seed = Annotated[int, typer.Option(help="Decides all that is random.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a picture: .svg, .png or .pdf.")]


@app.command()
@with_options(REPORTED)
def overlap(
    bundle: BundleName = None,
    rounds: Rounds = 5,
    seconds: Seconds = 25.0,
    seed: Seed = 0,
    plot: Plot = None,
    **reported: Any,
) -> None:
    """Total latency of text and three media against sequential, barrier and the critical-path bound; and under load."""
    settings = {"bundle": bundle, "rounds": rounds, "seconds": seconds, "seed": seed, "plot": plot}
    raise run("overlap", settings, **reported)


Promised = Annotated[float | None, typer.Option(metavar="SECONDS", help="Promised; otherwise 3 x what it takes idle.")]


@app.command()
@with_options(REPORTED)
def serve(
    server: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Load this server; otherwise one of its own.")
    ] = None,
    bundle: BundleName = None,
    rate: Annotated[list[float] | None, typer.Option(help="Requests a second; once for each rate.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds for which each rate is offered.")] = 8.0,
    trace: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Arrivals as lines SECONDS,PROMPT, instead of rates.")
    ] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="What requests say, in turns.")] = None,
    first_text: Promised = None,
    first_media: Promised = None,
    total: Promised = None,
    hang_up: Annotated[float, typer.Option(min=0, max=1, help="Share of callers who leave at a random moment.")] = 0.1,
    seed: Seed = 0,
    plot: Plot = None,
    **reported: Any,
) -> None:
    """Load a server with requests that come at random or by a trace: latencies, goodput, cost, and wasted work."""
    settings = {
        "server": server,
        "bundle": bundle,
        "seconds": seconds,
        "trace_file": trace,
        "prompts": prompt or (),
        "first_text": first_text,
        "first_media": first_media,
        "total": total,
        "hang_up": hang_up,
        "seed": seed,
        "plot": plot,
    }
    raise run("serve", settings | ({"rates": rate} if rate else {}), **reported)


@app.command()
@with_options(REPORTED)
def calibrate(
    bundle: Shipped = "nano",
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions of each measurement.")] = 2,
    **reported: Any,
) -> None:
    """How long a bundle's workers take here, by how many calls share them: what simulations draw from."""
    raise run("calibrate", {"bundle": bundle, "repeats": repeats}, **reported)


@app.command()
@with_options(REPORTED)
def simulate(
    replicas: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=N", help="Workers of a modality, or 'language model'; otherwise 1."),
    ] = None,
    rate: Annotated[float, typer.Option(min=1e-6, help="Requests a second.")] = 2.0,
    minutes: Annotated[float, typer.Option(min=0, help="Minutes of load.")] = 10.0,
    bundle: Annotated[str, typer.Option(metavar="DIR", help="The bundle whose modalities are made.")] = "nano",
    costs: Annotated[Path | None, typer.Option(metavar="FILE", help="What `motet bench calibrate` wrote.")] = None,
    media: Annotated[float, typer.Option(min=0, max=1, help="How likely an answer holds each modality.")] = 0.5,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of text in an answer.")] = 60,
    tenants: Annotated[int, typer.Option(min=1, help="Tenants that ask.")] = 4,
    greedy: Annotated[float, typer.Option(min=0, max=1, help="Share of all that one of them asks for.")] = 0.5,
    width: Annotated[int, typer.Option(min=1, help="Calls that a decoder works on at a time.")] = 4,
    queue_seconds: Annotated[float, typer.Option(min=0.001, help="As MOTET_QUEUE_SECONDS.")] = 60.0,
    grain: Annotated[int, typer.Option(min=1, help="Tokens or steps simulated as one: more is faster.")] = 5,
    seed: Seed = 0,
    **reported: Any,
) -> None:
    """The real orchestrator and pools on a virtual clock, with workers as slow as measured ones."""
    settings = {
        "replicas": _counts(replicas or ()),
        "rate": rate,
        "minutes": minutes,
        "bundle": bundle,
        "media": media,
        "tokens": tokens,
        "tenants": tenants,
        "greedy": greedy,
        "width": width,
        "queue_seconds": queue_seconds,
        "grain": grain,
        "seed": seed,
    }
    raise run("simulate", settings | ({"costs": costs} if costs else {}), **reported)


def _counts(pairs: Sequence[str]) -> dict[str, int]:
    """`["shape=8"]` as a mapping."""
    counts = {}
    for pair in pairs:
        kind, _, count = pair.partition("=")
        if not (kind and count.isdecimal() and int(count)):
            raise typer.BadParameter(f"--replicas takes KIND=NUMBER, not {pair!r}")
        counts[kind] = int(count)
    return counts


@app.command()
@with_options(REPORTED)
def llm(
    bundle: Shipped = "nano",
    answers: Annotated[int, typer.Option(min=1, help="Answers at a time.")] = 8,
    rounds: Rounds = 3,
    random: Annotated[
        str, typer.Option(metavar="LAYERSxWIDTH", help="Random weights of this size instead, such as 8x1024.")
    ] = "",
    threads: Annotated[int, typer.Option(min=1, help="Threads that the model computes on.")] = 1,
    **reported: Any,
) -> None:
    """What the language model gains by sharing passes: against `generate` one by one and in static batches."""
    settings = {"bundle": bundle, "answers": answers, "rounds": rounds, "random": random, "threads": threads}
    raise run("llm", settings, **reported)


@app.command()
@with_options(REPORTED)
def gpu(
    size: Annotated[list[int] | None, typer.Option(min=1, help="How many at a time; once for each.")] = None,
    rounds: Rounds = 3,
    smoke: Annotated[bool, typer.Option("--smoke", help="Run the same code in small, on a CPU.")] = False,
    **reported: Any,
) -> None:
    """Full-size random weights against the stock libraries and the hardware's limit. Without CUDA it exits with 2."""
    settings: dict[str, Any] = {"rounds": rounds, "smoke": smoke}
    raise run("gpu", settings | ({"sizes": size} if size else {}), **reported)


@app.command()
@with_options(REPORTED)
def diffusion(
    rounds: Rounds = 3,
    arrivals: Annotated[int, typer.Option(min=2, help="Requests that come at random.")] = 100,
    seed: Seed = 0,
    **reported: Any,
) -> None:
    """Pictures at once, latency under Poisson arrivals, neighbours' influence, and cancelling."""
    raise run("diffusion", {"rounds": rounds, "arrivals": arrivals, "seed": seed}, **reported)


@app.command()
@with_options(REPORTED)
def contention(
    bundle: Shipped = "nano",
    rounds: Rounds = 3,
    **reported: Any,
) -> None:
    """Text beside three decoders at work on the same machine, against text alone, and what that costs the media."""
    raise run("contention", {"bundle": bundle, "rounds": rounds}, **reported)


@app.command()
@with_options(REPORTED)
def encoder(
    bundle: Shipped = "nano",
    items: Annotated[int, typer.Option(min=2, help="Items at a time.")] = 8,
    rounds: Rounds = 4,
    **reported: Any,
) -> None:
    """Embeddings of many callers together against one by one, and equal embeddings and media made once."""
    raise run("encoder", {"bundle": bundle, "items": items, "rounds": rounds}, **reported)


@app.command(name="all")
def everything(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports and pictures go.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this one; otherwise all.")] = None,
) -> None:
    """Run every benchmark, a process each, and write what each reports. Takes minutes; wants a quiet machine."""
    from services.cli.exit import exit_after
    from services.exit_codes import Exit

    raise exit_after(
        lambda: Exit.FAILED if import_module("services.benchmarks.run_all").run_all(out, only or ()) else Exit.OK
    )


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the reports are.")],
    into: Annotated[Path | None, typer.Option(metavar="FILE", help="A document, to be written into.")] = None,
) -> None:
    """Show the reports of a folder as Markdown, or write them into a document, between its marks."""
    from services.cli.exit import exit_after
    from services.exit_codes import Exit

    def shown() -> Exit:
        suite = import_module("services.benchmarks.run_all")
        if into is None:
            print(suite.table_of(folder))
        else:
            suite.put_table(folder, into)
        return Exit.OK

    raise exit_after(shown)


@app.command()
def hardware() -> None:
    """Say on which machine figures would be measured."""
    import json

    from services.benchmarks.reports.hardware import hardware as found

    print(json.dumps(found(), indent=1))


def run(module: str, settings: Mapping[str, Any], as_json: bool, out: Path | None) -> typer.Exit:
    """Present what a benchmark of `services.benchmarks.suite` reports with these settings; `raise` the result.

    The exit code is 1 where a figure misses its bar.
    """
    from services.cli.exit import exit_after
    from services.exit_codes import Exit

    def measured() -> Exit:
        report = import_module(f"services.benchmarks.suite.{module}").measure(**settings)
        if out is not None:
            report.write(out)
        if as_json:
            print(report.json())
        else:
            from services.benchmarks.reports.table import print_report

            print_report(report)
        return Exit.OK if report.met else Exit.FAILED

    return exit_after(measured, as_json)
