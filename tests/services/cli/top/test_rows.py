"""The rows of processes, pools, modalities and GPUs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from motet.core.telemetry.service_metrics import families
from services.cli import top
from services.cli.top.reading import MetricsReading, rates_between
from services.cli.top.rows.modality import DeviceLoad, ModalityRow, modality_rows
from services.cli.top.rows.pool import ReplicaRow, pool_rows
from services.cli.top.rows.process import ObservedProcess, ProcessRow, ProcessState
from services.cli.top.snapshot import Snapshot
from services.metric_samples import exposition_of
from tests.services.cli.top.expositions import DECODER, ORCHESTRATOR, changed

BUSY = """\
# TYPE motet_cpu_busy_seconds_total counter
motet_cpu_busy_seconds_total{component="decoder",modality="image"} %s
# TYPE motet_gpu_busy_seconds_total counter
motet_gpu_busy_seconds_total{component="decoder",modality="image",gpu_uuid="GPU-1"} %s
"""
GPU = """\
# TYPE motet_gpu_info gauge
motet_gpu_info{component="decoder",gpu_uuid="GPU-1",name="H200"} 1.0
# TYPE motet_gpu_memory_bytes gauge
motet_gpu_memory_bytes{gpu_uuid="GPU-1",kind="used"} 30.0
motet_gpu_memory_bytes{gpu_uuid="GPU-1",kind="free"} 60.0
motet_gpu_memory_bytes{gpu_uuid="GPU-1",kind="reserved"} 10.0
# TYPE motet_gpu_utilization_ratio gauge
motet_gpu_utilization_ratio{gpu_uuid="GPU-1",engine="compute"} 0.5
# TYPE motet_gpu_throttled gauge
motet_gpu_throttled{gpu_uuid="GPU-1",reason="power"} 1.0
motet_gpu_throttled{gpu_uuid="GPU-1",reason="thermal"} 0.0
"""


def observed(text: str, before: str | None = None, name: str = "x") -> ObservedProcess:
    """Return a process with two readings that are 10 s apart. By default, they are equal."""
    first, second = (MetricsReading(at, exposition_of(each)) for at, each in ((0.0, before or text), (10.0, text)))
    metrics = second.metrics
    return ObservedProcess(name, name, "", metrics.gauges, rates_between(first, second), metrics.names)


def modality(name: str, *processes: ObservedProcess) -> ModalityRow:
    return next(row for row in modality_rows(processes) if row.modality == name)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (DECODER, ProcessState.SERVING),
        (DECODER.replace('service=""} 1', 'service=""} 0'), ProcessState.NOT_SERVING),
        (DECODER.replace("motet_health_serving", "x"), ProcessState.STARTING),
        (DECODER + "# TYPE motet_draining gauge\nmotet_draining 1\n", ProcessState.DRAINING),
    ],
)
def test_the_state_of_a_process_is_that_of_its_health(text: str, state: ProcessState) -> None:
    assert ProcessRow.of(observed(text)).state is state


def test_a_worker_has_the_mean_of_its_batches_and_its_cpu() -> None:
    after = changed(
        DECODER,
        process_cpu_seconds_total=65.0,
        motet_decoder_batch_size_count__image=14.0,
        motet_decoder_batch_size_sum__image=36.0,
    )

    row = ProcessRow.of(observed(after, DECODER))

    assert (row.component, row.cpu_cores, row.batch_size) == ("decoder", 1.5, 4.0)


def test_a_pool_has_its_queue_and_its_replicas_by_ordinal() -> None:
    (row,) = pool_rows([observed(ORCHESTRATOR), observed(DECODER)])

    assert row.replicas == [ReplicaRow("0", "10.0.0.1:1", True, 3.0), ReplicaRow("1", "10.0.0.2:1", False, None)]
    assert row.replicas_by_state == {"ready": 1, "ejected": 1}
    assert (row.calls_waiting, row.calls_running, row.slots) == (4.0, 8.0, 8.0)
    assert (row.queue_seconds, row.oldest_wait_seconds) == (6.5, 1.5)


def test_two_orchestrators_share_replicas_and_have_their_own_queues() -> None:
    # The other orchestrator numbers the replicas in another order, and finds both ready.
    other = ORCHESTRATOR.replace("10.0.0.1", "10.0.0.x").replace("10.0.0.2", "10.0.0.1").replace("10.0.0.x", "10.0.0.2")
    other = other.replace('replica="1"} 0.0', 'replica="1"} 1.0').replace(
        'wait_seconds{pool="image"} 1.5', 'wait_seconds{pool="image"} 2.5'
    )

    (row,) = pool_rows([observed(ORCHESTRATOR), observed(other)])

    assert [(replica.ordinal, replica.address, replica.ready) for replica in row.replicas] == [
        ("0", "10.0.0.1:1", True),
        ("1", "10.0.0.2:1", False),
    ]
    assert (row.calls_waiting, row.queue_seconds, row.oldest_wait_seconds, row.slots) == (8.0, 13.0, 2.5, 8.0)


def test_a_modality_has_its_media_per_second_apart_from_failures() -> None:
    after = ORCHESTRATOR.replace('modality="image",reason="",fault=""} 8', 'modality="image",reason="",fault=""} 28')
    after = after.replace('"WORKER_LOST",fault="server"} 2', '"WORKER_LOST",fault="server"} 3')
    after = after.replace('outcome="hit"} 2', 'outcome="hit"} 5').replace('outcome="miss"} 6', 'outcome="miss"} 7')

    row = modality("image", observed(after, ORCHESTRATOR), observed(DECODER))

    assert (row.media_per_second, row.failed_per_second, row.cache_hit_ratio) == (2.0, 0.1, 0.75)
    assert row.jobs_running == 3.0


def test_without_an_orchestrator_the_media_per_second_are_not_known() -> None:
    assert modality("image", observed(DECODER)).media_per_second is None


def test_the_load_of_a_modality_is_that_of_its_batches() -> None:
    after = changed(DECODER, process_cpu_seconds_total=90.0)

    row = modality("image", observed(after + BUSY % (25.0, 9.0), DECODER + BUSY % (20.0, 1.0)))

    assert row.loads == [DeviceLoad("decoder", "GPU-1", 0.8), DeviceLoad("decoder", "cpu", 0.5)]


def test_without_busy_seconds_the_load_of_a_modality_is_the_cpu_time_of_its_decoders() -> None:
    after = changed(DECODER, process_cpu_seconds_total=57.0)

    row = modality("image", observed(after, DECODER, "a"), observed(after, DECODER, "b"))

    assert row.loads == [DeviceLoad("decoder", "cpu", pytest.approx(1.4))]


def test_a_gpu_of_several_processes_counts_once() -> None:
    snapshot = Snapshot.of(0.0, [observed(DECODER + GPU, name="a"), observed(DECODER + GPU, name="b")])

    (gpu,) = snapshot.gpus
    assert (gpu.uuid, gpu.components, gpu.compute, gpu.throttled) == ("GPU-1", ["decoder"], 0.5, ["power"])
    assert (gpu.memory_used_bytes, gpu.memory_bytes, gpu.power_watts) == (30.0, 100.0, None)


def test_a_snapshot_is_json_with_the_fields_of_the_document() -> None:
    page = (Path(__file__).parents[4] / "docs" / "command-line.md").read_text()
    table = page.partition("## A live view")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`(\w+)`", table))
    snapshot = Snapshot.of(5.0, [observed(ORCHESTRATOR + BUSY % (1, 1) + GPU)])

    line = json.loads(json.dumps(snapshot.as_json()))

    fields = {*line, *line["totals"]}
    for name in ("processes", "pools", "modalities", "gpus"):
        fields |= line[name][0].keys()
    fields |= line["pools"][0]["replicas"][0].keys() | line["modalities"][-1]["loads"][0].keys()
    assert fields <= documented, fields - documented


def test_the_metrics_that_are_read_exist() -> None:
    exported = {f"{family.name}" for each in families() for family in each.describe()}
    source = "".join(path.read_text() for path in Path(top.__file__).parent.rglob("*.py"))
    read = set(re.findall(r'"(motet_[a-z_]+)"', source))
    names = {re.sub(r"_(total|count|sum|info)$", "", name) for name in read}

    assert len(names) > 20
    assert names <= exported | {name.removesuffix("_info") for name in exported}
