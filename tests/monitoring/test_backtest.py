"""The alerts on simulated days: Prometheus reads the metrics of the real orchestrator and pools on a virtual clock."""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from motet.core.clock import now
from motet.core.telemetry.service_metrics import families
from services.benchmarks.load.open_loop import ScheduledRequest, poisson_requests, send_all
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.simulation.measured_costs import RECORDED_COSTS, MeasuredCosts, TickCosts
from services.benchmarks.simulation.virtual_loop import run_virtually
from services.benchmarks.simulation.workers import SimulatedWorker
from services.benchmarks.suite.simulate import DeploymentSize, simulated_orchestrator, simulated_workers
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle
from tests.monitoring.prometheus import alerts, promtool, rules, write_yaml

HOUR = 3600.0
HOURS = 3
"""Length of a day. The simulation of a whole one takes a minute."""
MINUTES = HOURS * 60
BUSIEST = 0.1
"""Requests a second in the middle of the day."""
MODALITIES = ("image", "audio", "video")
SIZE = DeploymentSize({"image": 2, "audio": 2, "video": 2}, grain=50)
USED = ("motet_parts", "motet_media_job", "motet_time_to", "motet_pool", "motet_denoising", "motet_llm_tokens")


@dataclass(frozen=True, slots=True)
class ThrottledCosts(TickCosts):
    """Costs that are `factor` times as high from `start` to `end`."""

    start: float
    end: float
    factor: float

    def seconds(self, size: int, quantile: float) -> float:
        """Return the seconds of a tick now."""
        seconds = super(ThrottledCosts, self).seconds(size, quantile)
        return seconds * self.factor if self.start <= now() < self.end else seconds


def costs_of(slow: tuple[float, float] = (0.0, 0.0), slowdown: float = 1.0) -> MeasuredCosts:
    """Return the costs of a model that is twenty times as large as nano. Pictures are slower between two times."""
    measured = MeasuredCosts.read(RECORDED_COSTS)
    steps = {}
    for modality, costs in measured.step.items():
        samples = {size: [20 * each for each in every] for size, every in costs.samples.items()}
        window = slow if modality == "image" else (0.0, 0.0)
        steps[modality] = ThrottledCosts(samples, *window, slowdown)
    return replace(measured, step=steps)


def day_of_requests() -> list[ScheduledRequest]:
    """Return requests for one medium each. Their rate rises to the middle of the day, and falls again."""
    rng = random.Random(1)
    prompts = [scripted_prompt([modality], 20, 20, 20) for modality in MODALITIES]
    every = poisson_requests(BUSIEST, HOURS * HOUR, prompts, rng)
    return [each for each in every if rng.random() < 0.2 + 0.8 * math.sin(math.pi * each.at / (HOURS * HOUR)) ** 2]


async def leak(worker: SimulatedWorker, at: float) -> None:
    """Let a worker compute from a time on, for no call."""
    await asyncio.sleep(at)
    async for _ in worker.batch.advance(10**9):
        pass


def recorded_series(
    costs: MeasuredCosts, requests: Sequence[ScheduledRequest], leak_at: float | None = None
) -> dict[str, list[float]]:
    """Return the values of each series at each minute of a simulated day, NaN where it does not exist.

    From `leak_at` on, the first replica of the video decoder computes for no call.
    """
    recorded: defaultdict[str, list[float]] = defaultdict(list)

    def add(minute: int, name: str, value: float, **labels: str) -> None:
        text = ",".join(f'{label}="{each}"' for label, each in {**labels, "job": "motet"}.items())
        values = recorded[f"{name}{{{text}}}"]
        values += [math.nan] * (minute - len(values)) + [value]

    def sample_workers(minute: int, workers: Mapping[str, Sequence[SimulatedWorker]]) -> None:
        """Add the busy seconds and the running calls, which processes of workers would count."""
        for kind, replicas in workers.items():
            component, modality = ("llm", "text") if kind == LANGUAGE_MODEL else ("decoder", kind)
            for number, worker in enumerate(replicas):
                of = {"instance": f"{kind}-{number}", "gpu_uuid": f"{kind}-{number}"}
                busy, running = worker.batch.busy, worker.limiter.load.running
                add(minute, "motet_gpu_busy_seconds_total", busy, component=component, modality=modality, **of)
                add(minute, "motet_calls_running", running, instance=of["instance"])

    def sample(minute: int) -> None:
        for family in families():
            if not family.describe()[0].name.startswith(USED):
                continue
            for metric in family.collect():
                for each in metric.samples:
                    add(minute, each.name, each.value, **each.labels)

    async def program() -> None:
        manifest = open_bundle("nano", ()).manifest
        rng = random.Random(0)
        workers = simulated_workers(manifest, costs, SIZE, rng)
        async with simulated_orchestrator(manifest, workers, 60.0, rng) as motet:
            load = asyncio.create_task(send_all(motet, requests))
            leaks = [asyncio.create_task(leak(workers["video"][0], leak_at))] if leak_at is not None else []
            for minute in range(MINUTES):
                sample(minute)
                sample_workers(minute, workers)
                await asyncio.sleep(60)
            for task in (load, *leaks):
                task.cancel()

    run_virtually(program())
    return recorded


def check_fired(folder: Path, recorded: dict[str, list[float]], expected: Collection[tuple[str, str]]) -> None:
    """Let Prometheus evaluate a day. Raises `AssertionError` if other alerts than these fired, by name and modality."""
    seconds = {"default": 60, "text": 5, "video": 300}
    groups = rules({"objectives": {"latencySeconds": seconds}, "alerts": {"MetricsAbsent": {"enabled": False}}})
    for alert in alerts(groups).values():
        del alert["annotations"]
    write_yaml(folder / "rules.yaml", groups)
    series = [
        {"series": name, "values": " ".join("_" if math.isnan(value) else repr(value) for value in values)}
        for name, values in recorded.items()
    ]
    query = f'group by (alertname, modality) (count_over_time(ALERTS{{alertstate="firing"}}[{MINUTES}m]))'
    samples = [
        {"labels": f'{{alertname="Motet{name}", modality="{modality}"}}', "value": 1}
        for name, modality in sorted(expected)
    ]
    check = {"expr": query, "eval_time": f"{MINUTES - 1}m", "exp_samples": samples}
    content = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5m",
        # Otherwise the order is random, and an alert may not see what is recorded at the same time.
        "group_eval_order": [group["name"] for group in groups["groups"]],
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [check]}],
    }
    (folder / "day.yaml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, width=10**9))
    promtool("test", "rules", folder / "day.yaml")


def test_a_busy_healthy_day_fires_no_alert(tmp_path: Path) -> None:
    check_fired(tmp_path, recorded_series(costs_of(), day_of_requests()), [])


def test_a_hung_decoder_and_one_that_computes_for_no_call_fire_their_own_alerts_only(tmp_path: Path) -> None:
    requests = [each for each in day_of_requests() if each.at < 2.4 * HOUR]

    recorded = recorded_series(costs_of((HOUR, 1.5 * HOUR), 1e4), requests, leak_at=2.5 * HOUR)

    hung = "AvailabilityBurnsFast", "AvailabilityBurnsSlowly", "IdleWithQueue", "OldestWait", "QueueFull", "QueueStuck"
    check_fired(tmp_path, recorded, [*((name, "image") for name in hung), ("BusyWithoutCalls", "all")])


def test_pictures_that_are_slow_for_an_hour_fire_their_own_alerts_only(tmp_path: Path) -> None:
    recorded = recorded_series(costs_of((HOUR, 2 * HOUR), 30), day_of_requests())

    burns = ("AvailabilityBurnsFast", "AvailabilityBurnsSlowly", "LatencyBurnsFast", "LatencyBurnsSlowly")
    check_fired(tmp_path, recorded, [(name, "image") for name in (*burns, "OldestWait", "QueueFull", "WastedSeconds")])
