"""Settings of the benchmarks: one model for each, whose fields are the parameters of the benchmark's `measure`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

_HEAD_WIDTH = 64
"""Width of an attention head of a language model with random weights."""

DIR: JsonDict = {"metavar": "DIR"}
FILE: JsonDict = {"metavar": "FILE"}
SECONDS: JsonDict = {"metavar": "SECONDS"}

_PLOTS = (".svg", ".png", ".pdf")


def _checked_plot(path: Path | None) -> Path | None:
    if path is not None and path.suffix not in _PLOTS:
        raise ValueError(f"--plot takes a file with the suffix {', '.join(_PLOTS)}, not {str(path)!r}")
    return path


def _checked_size(size: str) -> str:
    match = re.fullmatch(r"[1-9][0-9]*x([1-9][0-9]*)", size)
    if size and (match is None or int(match[1]) % _HEAD_WIDTH):
        raise ValueError(f"--random takes LAYERSxWIDTH with a WIDTH divisible by {_HEAD_WIDTH}, not {size!r}")
    return size


Bundle = Annotated[
    str, Field(description="Folder of a bundle, or the name of a bundle that ships with Motet.", json_schema_extra=DIR)
]
OptionalBundle = Annotated[
    str | None,
    Field(description="Folder or name of a bundle. Without a bundle, toy workers run.", json_schema_extra=DIR),
]
Rounds = Annotated[int, Field(ge=1, description="Number of rounds. The candidates alternate within a round.")]
Seed = Annotated[int, Field(description="Seed of all random numbers.")]
Plot = Annotated[
    Path | None,
    AfterValidator(_checked_plot),
    Field(description=f"File of a plot: {', '.join(_PLOTS)}.", json_schema_extra=FILE),
]


class BenchSettings(BaseModel):
    """Settings of a benchmark."""

    model_config = ConfigDict(allow_inf_nan=False)


class OrchestratorBenchSettings(BenchSettings):
    """Settings of `motet bench orchestrator`."""

    requests: int = Field(300, ge=1, description="Number of sequential requests.")
    rounds: Rounds = 20
    plans: int = Field(60, ge=1, description="Number of plans in a round.")
    concurrency: int = Field(8, ge=1, description="Number of concurrent requests.")


class OverlapBenchSettings(BenchSettings):
    """Settings of `motet bench overlap`."""

    bundle: OptionalBundle = None
    rounds: Rounds = 5
    seconds: float = Field(25.0, ge=0.1, description="Duration of the load, in seconds.")
    seed: Seed = 0
    plot: Plot = None


class EdgesBenchSettings(BenchSettings):
    """Settings of `motet bench edges`."""

    rounds: Rounds = 10
    plot: Plot = None


class ActivationBenchSettings(BenchSettings):
    """Settings of `motet bench activation`."""

    rounds: Rounds = 100
    burst: int = Field(50, ge=1, description="Number of simultaneous requests of a burst.")


class ServeBenchSettings(BenchSettings):
    """Settings of `motet bench serve`."""

    server: str | None = Field(
        None,
        description="Address of the server. Without an address, the benchmark starts a server.",
        json_schema_extra={"metavar": "ADDR"},
    )
    bundle: OptionalBundle = None
    rates: tuple[Annotated[float, Field(ge=1e-6)], ...] = Field(
        (1, 2, 3, 4, 6),
        description="Request rate, in requests per second; repeatable.",
        json_schema_extra={"metavar": "R"},
    )
    seconds: float = Field(8.0, ge=0.1, description="Duration of each rate, in seconds.")
    trace_file: Path | None = Field(
        None,
        description="File of arrivals, in lines SECONDS,PROMPT, that replaces the rates.",
        json_schema_extra={"metavar": "CSV"},
    )
    prompts: tuple[str, ...] = Field(
        (), description="Prompt of a request; repeatable. Requests alternate.", json_schema_extra={"metavar": "TEXT"}
    )
    first_text: float | None = Field(
        None,
        ge=0,
        description="Limit until the first text, in seconds. Default: 3 x the idle latency.",
        json_schema_extra=SECONDS,
    )
    first_media: float | None = Field(
        None,
        ge=0,
        description="Limit until the first media, in seconds. Default: 3 x the idle latency.",
        json_schema_extra=SECONDS,
    )
    total: float | None = Field(
        None,
        ge=0,
        description="Limit of a request, in seconds. Default: 3 x the idle latency.",
        json_schema_extra=SECONDS,
    )
    hang_up: float = Field(0.1, ge=0, le=1, description="Share of callers that cancel at a random moment.")
    seed: Seed = 0
    plot: Plot = None


class CalibrateBenchSettings(BenchSettings):
    """Settings of `motet bench calibrate`."""

    bundle: Bundle = "nano"
    repeats: int = Field(2, ge=1, description="Number of repetitions of each measurement.")


class RayBenchSettings(BenchSettings):
    """Settings of `motet bench ray`."""

    rounds: Rounds = 10
    calls: int = Field(200, ge=1, description="Number of calls in a round.")
    concurrency: int = Field(16, ge=1, description="Number of concurrent calls for the rate.")
    smoke: bool = Field(False, description="Run the same code with 1 round of 5 calls.")


class TlsBenchSettings(BenchSettings):
    """Settings of `motet bench tls`."""

    rounds: Rounds = 20
    plans: int = Field(60, ge=1, description="Number of plans in a round.")
    concurrency: int = Field(8, ge=1, description="Number of concurrent plans and streams.")
    seconds: float = Field(
        60.0, ge=1, description="Duration of the load while certificates change.", json_schema_extra=SECONDS
    )
    interval: float = Field(
        2.0, ge=0.1, description="Interval between two changes of all certificates.", json_schema_extra=SECONDS
    )
    smoke: bool = Field(False, description="Run the same code with 2 rounds of 5 plans and 5 seconds of load.")


class TenantsBenchSettings(BenchSettings):
    """Settings of `motet bench tenants`."""

    requests: int = Field(10_000, ge=1, description="Number of requests of the greedy tenant in a round.")
    rounds: int = Field(1, ge=1, description="Number of rounds: beside the greedy tenant, and then alone.")
    rate: float = Field(2.0, gt=0, description="Requests of all modest tenants, per second.")
    processes: int = Field(2, ge=1, description="Number of processes of the greedy tenant.")
    connections: int = Field(8, ge=1, description="Number of connections of a process.")
    calls: int = Field(32, ge=1, description="Number of simultaneous calls of a connection.")
    smoke: bool = Field(False, description="Run the same code with one round of 200 requests.")


class LanguageModelBenchSettings(BenchSettings):
    """Settings of `motet bench llm`."""

    bundle: Bundle = "nano"
    answers: int = Field(8, ge=1, description="Number of concurrent answers.")
    rounds: Rounds = 3
    random: Annotated[str, AfterValidator(_checked_size)] = Field(
        "",
        description="Size of random weights, such as 8x1024, that replace the bundle's.",
        json_schema_extra={"metavar": "LAYERSxWIDTH"},
    )
    threads: int = Field(1, ge=1, description="Number of CPU threads of the model.")
    beside: Literal["vllm"] | None = Field(
        None, description="Peer that generates the same responses with the same weights, in turns with Motet."
    )
    peer_python: Path | None = Field(
        None,
        description="Python of the environment of the peer. Without it, the peer runs in Motet's environment.",
        json_schema_extra=FILE,
    )


class GpuBenchSettings(BenchSettings):
    """Settings of `motet bench gpu`."""

    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 8, 32), description="Batch size; repeatable.", json_schema_extra={"metavar": "N"}
    )
    rounds: Rounds = 3
    smoke: bool = Field(False, description="Run the same code with small models on the CPU.")


class DiffusionBenchSettings(BenchSettings):
    """Settings of `motet bench diffusion`."""

    rounds: Rounds = 3
    arrivals: int = Field(100, ge=2, description="Number of requests that arrive at random.")
    seed: Seed = 0


class ContentionBenchSettings(BenchSettings):
    """Settings of `motet bench contention`."""

    bundle: Bundle = "nano"
    rounds: Rounds = 3


class MetricsBenchSettings(BenchSettings):
    """Settings of `motet bench metrics`."""

    bundle: Bundle = "nano"
    rounds: Rounds = 15
    answers: int = Field(2, ge=1, description="Number of answers with a picture in a round.")
    requests: int = Field(20, ge=1, description="Number of requests of the deployment.")
    smoke: bool = Field(False, description="Run the same code with one round, one answer and one request.")


class TracingBenchSettings(BenchSettings):
    """Settings of `motet bench tracing`."""

    bundle: Bundle = "nano"
    rounds: Rounds = 15
    answers: int = Field(2, ge=1, description="Number of answers with a picture in a round.")
    smoke: bool = Field(False, description="Run the same code with one round and one answer.")


class StartBenchSettings(BenchSettings):
    """Settings of `motet bench start`."""

    bundle: Bundle = "nano"
    rounds: Rounds = 5


class SilenceBenchSettings(BenchSettings):
    """Settings of `motet bench silence`."""

    rounds: Rounds = 3


class EncoderBenchSettings(BenchSettings):
    """Settings of `motet bench encoder`."""

    bundle: Bundle = "nano"
    items: int = Field(8, ge=2, description="Number of concurrent items.")
    rounds: Rounds = 4


class FailuresBenchSettings(BenchSettings):
    """Settings of `motet bench failures`."""

    callers: int = Field(8, ge=1, description="Number of callers, each with one request at a time.")
    delay: float = Field(
        0.01, ge=0, description="Duration of each token and step of the toy workers.", json_schema_extra=SECONDS
    )
    undisturbed: float = Field(
        10.0, gt=0, description="Duration of the load before the first failure.", json_schema_extra=SECONDS
    )
    freeze: float = Field(20.0, gt=0, description="Time for which each process is frozen.", json_schema_extra=SECONDS)
    only: tuple[str, ...] = Field(
        (), description="Name of a process to disturb; repeatable. Default: all.", json_schema_extra={"metavar": "NAME"}
    )
