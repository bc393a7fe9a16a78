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

from typing import TYPE_CHECKING, Any

from services.benchmarks.settings import (
    ActivationBenchSettings,
    CalibrateBenchSettings,
    ContentionBenchSettings,
    DiffusionBenchSettings,
    EdgesBenchSettings,
    EncoderBenchSettings,
    FailuresBenchSettings,
    GpuBenchSettings,
    LanguageModelBenchSettings,
    MetricsBenchSettings,
    OrchestratorBenchSettings,
    OverlapBenchSettings,
    RayBenchSettings,
    ServeBenchSettings,
    SilenceBenchSettings,
    StartBenchSettings,
    TenantsBenchSettings,
    TlsBenchSettings,
    TracingBenchSettings,
)
from services.benchmarks.simulation_settings import (
    FleetBenchSettings,
    ScalingBenchSettings,
    SimulateBenchSettings,
    SizeBenchSettings,
)
from services.cli.bench import reports
from services.cli.bench.benchmark import app, benchmark

if TYPE_CHECKING:
    from services.benchmarks.reports.report import Report

__all__ = ["app", "reports"]


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


@benchmark(FleetBenchSettings)
def fleet(**settings: Any) -> Report:
    """Measure the work for a request with a thousand replicas against ten, and several orchestrators over one fleet."""
    from services.benchmarks.suite.scaling.fleet import measure

    return measure(**settings)


@benchmark(ActivationBenchSettings)
def activation(**settings: Any) -> Report:
    """Measure the time from a request to KEDA's message that a pool without replicas is active, against bare gRPC."""
    from services.benchmarks.suite.scaling.activation import measure

    return measure(**settings)


@benchmark(LanguageModelBenchSettings)
def llm(**settings: Any) -> Report:
    """Measure continuous batching of the language model against `generate` one by one, static batches, and vLLM."""
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


@benchmark(StartBenchSettings)
def start(**settings: Any) -> Report:
    """Measure the time from the start of `motet run` to its first word against `python -c "import torch"`."""
    from services.benchmarks.suite.start.benchmark import measure

    return measure(**settings)


@benchmark(SilenceBenchSettings)
def silence(**settings: Any) -> Report:
    """Measure the longest time in which a service answers nothing, under calls at every limit of the contract."""
    from services.benchmarks.suite.silence import measure

    return measure(**settings)


@benchmark(MetricsBenchSettings)
def metrics(**settings: Any) -> Report:
    """Measure the cost of metrics, and compare their first media, critical path and overhead with a client's."""
    from services.benchmarks.suite.observability.metrics import measure

    return measure(**settings)


@benchmark(TracingBenchSettings)
def tracing(**settings: Any) -> Report:
    """Measure the throughput with the export of traces against that without it."""
    from services.benchmarks.suite.observability.tracing import measure

    return measure(**settings)


@benchmark(FailuresBenchSettings)
def failures(**settings: Any) -> Report:
    """Kill and freeze each process of `motet up` in turn under load. Measure lost requests, latencies and restarts."""
    from services.benchmarks.suite.failures import measure

    return measure(**settings)


@benchmark(TlsBenchSettings)
def tls(**settings: Any) -> Report:
    """Measure the overhead of TLS and an API key, and replace all certificates under streams."""
    from services.benchmarks.suite.connections.tls import measure

    return measure(**settings)


@benchmark(RayBenchSettings)
def ray(**settings: Any) -> Report:
    """Measure a call to a worker in Ray Serve against the same call over gRPC. Needs `motet[ray]`."""
    from services.benchmarks.suite.connections.ray_hop import measure

    return measure(**settings)


@benchmark(TenantsBenchSettings)
def tenants(**settings: Any) -> Report:
    """Measure ten modest tenants beside one that sends 10,000 requests as fast as it can, against alone."""
    from services.benchmarks.suite.tenants import measure

    return measure(**settings)
