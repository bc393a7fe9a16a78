"""Settings of the benchmarks that simulate: their fields are the parameters of a benchmark's `measure`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.benchmarks.settings import FILE, SECONDS, BenchSettings, Bundle, Rounds, Seed
from services.benchmarks.simulation.measured_costs import RECORDED_COSTS
from services.pairs import pairs

Costs = Annotated[Path, Field(description="Report of `motet bench calibrate`.", json_schema_extra=FILE)]
MediaShare = Annotated[float, Field(ge=0, le=1, description="Probability of each modality in an answer.")]
Tokens = Annotated[int, Field(ge=1, description="Number of text tokens of an answer.")]
Width = Annotated[int, Field(ge=1, description="Maximum number of running calls of a decoder.")]
Grain = Annotated[int, Field(ge=1, description="Number of tokens or steps in one simulated event. More is faster.")]


class SimulateBenchSettings(BenchSettings):
    """Settings of `motet bench simulate`."""

    replicas: Annotated[Mapping[str, int], pairs("KIND=NUMBER")] = Field(
        {},
        description="Number of replicas of a modality's decoder, or of 'language model'. Default: 1.",
        json_schema_extra={"metavar": "KIND=N"},
    )
    rate: float = Field(2.0, ge=1e-6, description="Request rate, in requests per second.")
    minutes: float = Field(10.0, ge=0, description="Duration of the load, in minutes of simulated time.")
    bundle: Bundle = "nano"
    costs: Costs = RECORDED_COSTS
    media: MediaShare = 0.5
    tokens: Tokens = 60
    tenants: int = Field(4, ge=1, description="Number of tenants.")
    greedy: float = Field(0.5, ge=0, le=1, description="Share of all requests that one tenant sends.")
    width: Width = 4
    queue_seconds: float = Field(60.0, ge=0.001, description="Value of MOTET_QUEUE_SECONDS.", json_schema_extra=SECONDS)
    grain: Grain = 5
    seed: Seed = 0


class ScalingBenchSettings(BenchSettings):
    """Settings of `motet bench scaling`."""

    hours: float = Field(24.0, gt=0, description="Duration of the load, in hours of simulated time.")
    bursts: int = Field(4, ge=1, description="Number of bursts of each modality.")
    burst_minutes: float = Field(10.0, gt=0, description="Duration of a burst, in minutes.")
    replicas: int = Field(6, ge=1, description="Maximum number of replicas of a pool.")
    start_seconds: float = Field(
        60.0, ge=0, description="Time from the start of a replica to its first call.", json_schema_extra=SECONDS
    )
    target: float = Field(
        20.0, ge=0.1, description="Predicted seconds of work for one replica.", json_schema_extra=SECONDS
    )
    cooldown: float = Field(
        300.0, ge=0, description="Time without work after which all replicas end.", json_schema_extra=SECONDS
    )
    stabilization: float = Field(
        120.0, ge=0, description="Time of lower demand before a replica ends.", json_schema_extra=SECONDS
    )
    slowdown: float = Field(20.0, gt=0, description="Factor of the measured times of decoders.")
    bundle: Bundle = "nano"
    costs: Costs = RECORDED_COSTS
    width: Width = 4
    grain: Grain = 5
    seed: Seed = 0


class SizeBenchSettings(BenchSettings):
    """Settings of `motet bench size`."""

    rates: tuple[Annotated[float, Field(ge=1e-6)], ...] = Field(
        (1, 2, 5, 10),
        description="Request rate, in requests per second; repeatable.",
        json_schema_extra={"metavar": "R"},
    )
    bundle: Bundle = "nano"
    costs: Costs = RECORDED_COSTS
    media: MediaShare = 0.5
    tokens: Tokens = 60
    width: Width = 4
    slack: float = Field(
        2.0, gt=1, description="Limit of the latency of each part, as a multiple of the median of an idle deployment."
    )
    share: float = Field(0.95, gt=0, le=1, description="Share of the requests that must be within the limits.")
    price: Annotated[Mapping[str, Annotated[float, Field(ge=0)]], pairs("KIND=PRICE", whole=False)] = Field(
        {},
        description="Price of a replica of a modality's decoder, or of 'language model', for an hour; repeatable.",
        json_schema_extra={"metavar": "KIND=PRICE"},
    )
    requests: int = Field(400, ge=1, description="Number of requests of a simulated load.")
    grain: Grain = 5
    seed: Seed = 0


class FleetBenchSettings(BenchSettings):
    """Settings of `motet bench fleet`."""

    replicas: int = Field(1000, ge=2, description="Number of replicas of each worker in the large fleet.")
    few: int = Field(10, ge=1, description="Number of replicas of each worker in the small fleet.")
    requests: int = Field(600, ge=10, description="Number of requests of a fleet.")
    rate: float = Field(0.2, gt=0, description="Request rate for each replica of a worker, in requests per second.")
    load: float = Field(
        0.8, gt=0, lt=1, description="Share of the time of the busiest workers that several orchestrators need."
    )
    orchestrators: int = Field(4, ge=2, description="Number of orchestrators that share the small fleet.")
    rounds: Rounds = 3
    bundle: Bundle = "nano"
    costs: Costs = RECORDED_COSTS
    width: Width = 4
    grain: Grain = 50
    seed: Seed = 0
