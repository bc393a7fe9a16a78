"""`motet bench`: one command for each benchmark.

A command's options are the fields of the benchmark's model in `services.benchmarks.settings` or, if it simulates, in
`services.benchmarks.simulation_settings`. A command's function imports the benchmark's `measure(...) -> Report` and
calls it:

    @benchmark(ExampleBenchSettings)
    def example(**settings: Any) -> Report:
        # The docstring is the command's help.
        from services.benchmarks.suite.example import measure

        return measure(**settings)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from services.benchmarks.settings import (
    CalibrateBenchSettings,
    ContentionBenchSettings,
    DiffusionBenchSettings,
    EdgesBenchSettings,
    EncoderBenchSettings,
    FailuresBenchSettings,
    GpuBenchSettings,
    LanguageModelBenchSettings,
    OrchestratorBenchSettings,
    OverlapBenchSettings,
    ServeBenchSettings,
    SilenceBenchSettings,
    TenantsBenchSettings,
    TlsBenchSettings,
)
from services.benchmarks.simulation_settings import ScalingBenchSettings, SimulateBenchSettings, SizeBenchSettings
from services.cli.checks.paths import check_file, check_folder, check_input, check_input_folder
from services.cli.checks.streams import STDOUT, check_open
from services.cli.commands import Command, Group
from services.cli.exit import exit_after
from services.cli.typer_options import options_of, path_of, with_options
from services.exit_codes import Exit
from services.factory import open_bundle
from services.settings import settings_of

if TYPE_CHECKING:
    from services.benchmarks.reports.report import Report

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, add_completion=False)

Benchmark = Callable[..., "Report"]


def benchmark(kind: type[BaseModel], **spellings: str) -> Callable[[Benchmark], Benchmark]:
    """Make a function a command of `motet bench`, with the options of a settings model.

    `spellings` maps a field's name to an option whose name differs from the field's. The exit code is 1 if a figure
    misses its bar.
    """

    def decorate(measure: Benchmark) -> Benchmark:
        def command(
            as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
            out: Annotated[
                Path | None, typer.Option(parser=path_of, metavar="FILE", help="Write the report to FILE as JSON.")
            ] = None,
            **options: Any,
        ) -> None:
            def present() -> Exit:
                check_open(STDOUT)
                settings = settings_of(kind, options).model_dump()
                _check_paths(settings | {"out": out})
                report = measure(**settings)
                if out is not None:
                    report.write(out)
                if as_json:
                    print(report.json())
                else:
                    from services.benchmarks.reports.table import print_report

                    print_report(report)
                return Exit.OK if report.met else Exit.FAILED

            raise exit_after(present, as_json)

        command.__doc__ = measure.__doc__
        app.command(measure.__name__, cls=Command)(with_options(options_of(kind, **spellings))(command))
        return measure

    return decorate


def _check_paths(settings: Mapping[str, Any]) -> None:
    """Check the files that a benchmark reads and writes, and its bundle."""
    for names, check in ((("out", "plot"), check_file), (("trace_file", "costs"), check_input)):
        for name in names:
            if settings.get(name) is not None:
                check(settings[name])
    if settings.get("bundle") is not None:
        open_bundle(settings["bundle"], ())


@benchmark(OrchestratorBenchSettings)
def orchestrator(**settings: Any) -> Report:
    """Measure the orchestrator's overhead with instant workers, and its plans per second against bare gRPC stubs."""
    from services.benchmarks.suite.orchestrator_overhead import measure

    return measure(**settings)


@benchmark(OverlapBenchSettings)
def overlap(**settings: Any) -> Report:
    """Measure latency of text and three media against sequential, barrier and critical path, idle and under load."""
    from services.benchmarks.suite.overlap import measure

    return measure(**settings)


@benchmark(EdgesBenchSettings)
def edges(**settings: Any) -> Report:
    """Measure the hand-over of media to a decoder that takes them against bare gRPC stubs, and the critical path."""
    from services.benchmarks.suite.edges import measure

    return measure(**settings)


@benchmark(ServeBenchSettings, rates="--rate", prompts="--prompt", trace_file="--trace")
def serve(**settings: Any) -> Report:
    """Load a server at random or from a trace. Measure latencies, goodput, cost and wasted work."""
    from services.benchmarks.suite.serve import measure

    return measure(**settings)


@benchmark(CalibrateBenchSettings)
def calibrate(**settings: Any) -> Report:
    """Measure the durations of a bundle's workers by the number of concurrent calls, as input for simulations."""
    from services.benchmarks.suite.calibrate import measure

    return measure(**settings)


@benchmark(SimulateBenchSettings)
def simulate(**settings: Any) -> Report:
    """Run the real orchestrator and pools on a virtual clock, with the measured durations of workers."""
    from services.benchmarks.suite.simulate import measure

    return measure(**settings)


@benchmark(ScalingBenchSettings)
def scaling(**settings: Any) -> Report:
    """Simulate a day of bursts for replicas that follow the demand, a fixed fleet, and one that knows the load."""
    from services.benchmarks.suite.scaling.benchmark import measure

    return measure(**settings)


@benchmark(SizeBenchSettings, rates="--rate")
def size(**settings: Any) -> Report:
    """Search the fewest replicas of each worker that keep the latencies of a load, by simulation."""
    from services.benchmarks.suite.scaling.size import measure

    return measure(**settings)


@benchmark(LanguageModelBenchSettings)
def llm(**settings: Any) -> Report:
    """Measure continuous batching of the language model against `generate` one by one and in static batches."""
    from services.benchmarks.suite.llm import measure

    return measure(**settings)


@benchmark(GpuBenchSettings, sizes="--size")
def gpu(**settings: Any) -> Report:
    """Measure full-size random weights against stock libraries and the hardware limit. Without CUDA it exits with 2."""
    from services.benchmarks.suite.gpu import measure

    return measure(**settings)


@benchmark(DiffusionBenchSettings)
def diffusion(**settings: Any) -> Report:
    """Measure concurrent jobs, latency under Poisson arrivals, batch tolerance and cancellation."""
    from services.benchmarks.suite.diffusion import measure

    return measure(**settings)


@benchmark(ContentionBenchSettings)
def contention(**settings: Any) -> Report:
    """Measure text while three decoders run on the same machine against text alone, and the decoders' slowdown."""
    from services.benchmarks.suite.contention import measure

    return measure(**settings)


@benchmark(EncoderBenchSettings)
def encoder(**settings: Any) -> Report:
    """Measure batched embeddings of many callers against one by one, and the caches of embeddings and media."""
    from services.benchmarks.suite.encoder import measure

    return measure(**settings)


@benchmark(SilenceBenchSettings)
def silence(**settings: Any) -> Report:
    """Measure the longest time in which a service answers nothing, under calls at every limit of the contract."""
    from services.benchmarks.suite.silence import measure

    return measure(**settings)


@benchmark(FailuresBenchSettings)
def failures(**settings: Any) -> Report:
    """Kill and freeze each process of `motet up` in turn under load. Measure lost requests, latencies and restarts."""
    from services.benchmarks.suite.failures import measure

    return measure(**settings)


@benchmark(TlsBenchSettings)
def tls(**settings: Any) -> Report:
    """Measure the overhead of TLS and an API key, and replace all certificates under streams."""
    from services.benchmarks.suite.tls import measure

    return measure(**settings)


@benchmark(TenantsBenchSettings)
def tenants(**settings: Any) -> Report:
    """Measure ten modest tenants beside one that sends 10,000 requests as fast as it can, against alone."""
    from services.benchmarks.suite.tenants import measure

    return measure(**settings)


@app.command(name="all", cls=Command)
def run_all(
    out: Annotated[Path, typer.Option(parser=path_of, metavar="DIR", help="Folder of the reports and plots.")],
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Run this benchmark; repeatable.")] = None,
) -> None:
    """Run each benchmark in its own process, and write the reports. It takes minutes and needs an idle machine."""

    def run() -> Exit:
        from services.benchmarks.run_all import run_all as run_benchmarks

        check_folder(out)
        return Exit.FAILED if run_benchmarks(out, only or ()) else Exit.OK

    raise exit_after(run)


@app.command(cls=Command)
def table(
    folder: Annotated[Path, typer.Argument(parser=path_of, metavar="DIR", help="Folder of the reports.")],
    into: Annotated[
        Path | None,
        typer.Option(parser=path_of, metavar="FILE", help="Write the table between the marks of FILE."),
    ] = None,
) -> None:
    """Print the reports of a folder as Markdown tables, or write the tables into a document."""

    def show() -> Exit:
        from services.benchmarks.run_all import put_table, table_of

        check_input_folder(folder)
        if into is None:
            print(table_of(folder))
        else:
            check_input(into)
            check_file(into)
            put_table(folder, into)
        return Exit.OK

    raise exit_after(show)


@app.command(cls=Command)
def hardware() -> None:
    """Print the hardware of this machine, as reports contain it."""

    def show() -> Exit:
        import json

        from services.benchmarks.reports.hardware import hardware as detect

        print(json.dumps(detect(), indent=1))
        return Exit.OK

    raise exit_after(show)
