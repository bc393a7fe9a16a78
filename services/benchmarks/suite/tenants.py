"""The benchmark `tenants`: ten modest tenants alone, and beside a greedy one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from motet.core.clock import now
from motet.transport.access.key_file import add_record
from motet.transport.access.new_key import new_key
from motet.transport.server import freeze_garbage_collector
from services.benchmarks.load.call_outcomes import CallOutcomes, counted_otherwise
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.load.greedy_process import GreedyProcess, outcomes_of
from services.benchmarks.load.greedy_tenant import GreedyConfig
from services.benchmarks.load.modest_tenants import ModestTenants, outcomes_of_traces
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.load.server_counts import ServerCounts
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import percentile
from services.benchmarks.tracing.deployment import RecordedDeployment, RecordedDeploymentConfig, recorded_deployment

GREEDY, LIMITED = "greedy", "limited"
"""The name of the greedy tenant, and that of its quota class."""

MODEST = tuple(f"modest-{number}" for number in range(10))
"""The names of the modest tenants."""

LOADS = {
    "without quotas": {},
    "with quotas": {
        LIMITED: {
            "running_generations": 8,
            "generations_per_minute": 600,
            "tokens_per_minute": 20_000,
            "artifact_bytes": 100_000,
        }
    },
}
"""The quota classes of each load. The greedy tenant requests more than each of its quotas."""

_TOKEN, _STEP, _STEPS, _TOKENS = 0.1, 0.2, 8, 16
"""Seconds of a token and of a denoising step, and their numbers: the text of an answer and each medium take 1.6 s.

With workers twice as fast, the events of the admitted work took 93 % of the orchestrator's core here. Then all requests
wait for the processor, which no queue shares out.
"""

_SEQUENCES, _SLOTS = 16, 8
"""Simultaneous calls of the language model and of each decoder."""

_NICENESS = 19
"""Niceness of the greedy tenant's processes. They stand for other machines, so they get the spare processor time."""

_MAX_RATIO = 1.3
"""Bar of the latency of modest tenants beside the greedy one, as a multiple of their latency alone."""

_SETTLE_TIMEOUT = 20.0
"""Maximum time after a load until the orchestrator has no work left, in seconds."""

_POLL_INTERVAL = 0.1
"""Seconds between two checks whether the orchestrator has work left."""


@dataclass(frozen=True, slots=True)
class GreedyLoad:
    """The load of the greedy tenant: its requests, its processes, and the connections and calls of each process."""

    requests: int
    processes: int
    connections: int
    calls: int


@dataclass(slots=True)
class TenantsResult:
    """The requests of modest tenants, alone and beside the greedy tenant, and the outcomes of the latter's requests.

    `counted_otherwise` is the number of calls and generations that the server counted otherwise than their callers.
    `left` is the work that the server had left at the end. `seconds` is the duration of the greedy load.
    """

    alone: list[ClientTrace] = field(default_factory=list)
    beside: list[ClientTrace] = field(default_factory=list)
    greedy: CallOutcomes = field(default_factory=CallOutcomes)
    counted_otherwise: int = 0
    left: float = 0.0
    seconds: float = 0.0


def measure(
    requests: int, rounds: int, rate: float, processes: int, connections: int, calls: int, smoke: bool
) -> Report:
    """Measure modest tenants with `rate` requests a second in total, alone and beside `requests` greedy requests.

    The greedy requests come from `processes` processes with `connections` connections of `calls` calls at a time each.
    """
    load = GreedyLoad(requests, processes, connections, calls)
    if smoke:
        load, rounds = GreedyLoad(200, 1, 2, 16), 1
    return asyncio.run(_measure(load, rounds, rate))


async def _measure(load: GreedyLoad, rounds: int, rate: float) -> Report:
    freeze_garbage_collector()
    results = {name: await _compare(load, rounds, rate, classes) for name, classes in LOADS.items()}
    return report(results, {**asdict(load), "rounds": rounds, "rate": rate})


async def _compare(load: GreedyLoad, rounds: int, rate: float, classes: Mapping[str, Any]) -> TenantsResult:
    """Measure rounds on a new deployment with quota classes."""
    result = TenantsResult()
    async with _deployment(classes) as (deployment, keys), AsyncExitStack() as stack:
        address, texts = deployment.orchestrator, _texts(deployment.config)
        modest_keys = {name: keys[name] for name in MODEST}
        modest = await stack.enter_async_context(ModestTenants(address, modest_keys, texts))
        for number in range(rounds):
            processes = []
            for config in _greedy_configs(load, address, keys[GREEDY], texts, number):
                processes.append(await GreedyProcess.start(config))
                stack.push_async_callback(processes[-1].kill)
            await add_round(result, deployment.metrics, modest, outcomes_of(processes), rate, number)
    return result


async def add_round(
    result: TenantsResult,
    metrics: str,
    modest: ModestTenants,
    greedy: Coroutine[Any, Any, CallOutcomes],
    rate: float,
    number: int,
) -> None:
    """Add a round to a result: requests of the modest tenants beside the greedy tenant, then the same ones alone.

    `metrics` is the address of the orchestrator's metrics. `greedy` sends all requests of the greedy tenant.
    """
    before, started = await ServerCounts.read(metrics), now()
    task = asyncio.create_task(greedy)
    sent, beside = await modest.send_until(rate, number, task)
    outcomes = await task
    result.seconds += now() - started
    counts = (await _settled(metrics)).since(before)
    result.beside += beside
    result.greedy.add(outcomes)
    callers = outcomes_of_traces(beside)
    callers.add(outcomes)
    result.counted_otherwise += counted_otherwise(callers, counts.calls)
    result.counted_otherwise += abs(callers.generations - counts.generations)
    result.left = max(result.left, counts.left)
    result.alone += await modest.send(sent)


async def _settled(metrics: str) -> ServerCounts:
    """Return the counts once the orchestrator has no work left, or after `_SETTLE_TIMEOUT` seconds."""
    end = now() + _SETTLE_TIMEOUT
    while (counts := await ServerCounts.read(metrics)).left and now() < end:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_INTERVAL)
    return counts


def _greedy_configs(load: GreedyLoad, address: str, key: str, texts: Sequence[str], number: int) -> list[GreedyConfig]:
    """Return the configuration of each process in a round. The requests of all rounds have different seeds."""
    share = load.requests // load.processes
    return [
        GreedyConfig(
            address,
            key,
            share,
            load.connections,
            load.calls,
            tuple(texts),
            first_seed=10**9 + (number * load.processes + process) * share,
            niceness=_NICENESS,
        )
        for process in range(load.processes)
    ]


def _texts(config: RecordedDeploymentConfig) -> list[str]:
    """Return prompts for one medium, two media, and so on."""
    modalities = config.manifest.independent
    half = _TOKENS // 2
    return [scripted_prompt(modalities[:number], half, 0, half) for number in range(1, len(modalities) + 1)]


@asynccontextmanager
async def _deployment(classes: Mapping[str, Any]) -> AsyncIterator[tuple[RecordedDeployment, Mapping[str, str]]]:
    """Yield a deployment with quota classes, and the API key of each tenant."""
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        records, quotas = Path(folder) / "keys.jsonl", Path(folder) / "quotas.yaml"
        quotas.write_text(json.dumps(classes))  # JSON is YAML.
        keys: dict[str, str] = {}
        for tenant in (*MODEST, GREEDY):
            quota_class = LIMITED if tenant == GREEDY else ""
            roles = ["generate", "read"]
            keys[tenant], record = new_key(
                tenant=tenant, roles=roles, quota_class=quota_class, create_time=datetime.now(UTC)
            )
            add_record(records, record)
        config = RecordedDeploymentConfig(slots=_SLOTS, sequences=_SEQUENCES, keys=records, quotas=quotas)
        step = dict.fromkeys(config.manifest.signals, _STEP)
        config = replace(config, timings=ToyTimings(token=_TOKEN, step=step, steps=_STEPS))
        async with recorded_deployment(config) as deployment:
            yield deployment, keys


def report(results: Mapping[str, TenantsResult], settings: Mapping[str, Any]) -> Report:
    """Return the report of the result of each load."""
    figures = [figure for name, result in results.items() for figure in _figures(name, result)]
    return Report(
        "tenants",
        settings,
        figures,
        [
            f"{len(MODEST)} modest tenants send requests at random times. The greedy tenant sends its requests as fast "
            "as it can: generations with and without media in the prompt, uploads, watches, detached generations, and "
            "generations that it cancels or leaves. It repeats nothing, and ignores the delays for a retry.",
            "The modest tenants' requests are measured beside the greedy tenant until it has finished. Then the same "
            "arrivals are measured alone.",
            f"The greedy tenant's processes have the niceness {_NICENESS}, because they stand for other machines. The "
            "orchestrator, the workers and the modest tenants share the processor.",
            f"Toy workers: the text takes {_TOKENS * _TOKEN:g} s and each medium {_STEPS * _STEP:g} s, with "
            f"{_SEQUENCES} simultaneous calls of the language model and {_SLOTS} of each decoder. The orchestrator's "
            "core is not the limit: with work that ends in half the time, it was, and p95 without quotas was 2.3 x.",
        ],
        {
            name: {
                "greedy": result.greedy.as_dict(),
                "modest": dict(Counter(trace.failure for trace in result.beside)),
                "seconds": result.seconds,
                "totals": {"alone": _totals(result.alone), "beside": _totals(result.beside)},
            }
            for name, result in results.items()
        },
    )


def _figures(name: str, result: TenantsResult) -> list[Figure]:
    alone, beside, greedy = _totals(result.alone), _totals(result.beside), result.greedy

    def latency(q: int, limit: float | None) -> Figure:
        baseline = Baseline("alone", percentile(alone, q))
        bar = None if limit is None else at_most(limit)
        return Figure(f"latency of modest tenants, p{q}, {name}", percentile(beside, q), "s", baseline, bar)

    failed = sum(not trace.succeeded for trace in result.beside)
    return [
        latency(50, None),
        latency(95, _MAX_RATIO),
        Figure(f"failures of {len(result.beside)} modest requests, {name}", failed, "", bar=at_most(0)),
        Figure(f"greedy requests that succeeded, {name}", greedy.requests["succeeded"], "", bar=at_least(1)),
        Figure(f"greedy requests refused with a reason and a delay, {name}", greedy.requests["refused"], ""),
        Figure(f"greedy requests that were cancelled, {name}", greedy.requests["cancelled"], ""),
        Figure(f"greedy requests without one of these outcomes, {name}", greedy.lost.total(), "", bar=at_most(0)),
        Figure(f"calls that the server counted otherwise, {name}", result.counted_otherwise, "", bar=at_most(0)),
        Figure(f"work left at the end, {name}", result.left, "", bar=at_most(0)),
        Figure(f"greedy requests per second, {name}", greedy.sent / result.seconds, "1/s"),
    ]


def _totals(traces: Sequence[ClientTrace]) -> list[float]:
    """Return the total latencies. A request that failed has none: its failure counts elsewhere."""
    return [trace.total for trace in traces if trace.total is not None]
