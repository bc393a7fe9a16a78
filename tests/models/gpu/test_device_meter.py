"""Tests of the meters of models' devices."""

from __future__ import annotations

import time

import pytest
import torch

from motet.core.telemetry.busy_meter import Share
from motet.core.telemetry.compute_time import ComputeTime
from motet.core.telemetry.service_kind import ServiceKind
from motet.models.gpu.device_meter import device_meter


def test_a_model_on_the_cpu_has_no_gpu_seconds() -> None:
    meter, spent = device_meter(ServiceKind.DECODER, ["toy"], torch.device("cpu")), ComputeTime()
    with meter.measure([Share("toy", spent)]):
        torch.rand(64, 64) @ torch.rand(64, 64)

    assert spent.gpu == 0
    assert spent.cpu > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_the_events_of_a_real_gpu_measure_its_work() -> None:
    device = torch.device("cuda")
    meter = device_meter(ServiceKind.DECODER, ["toy"], device)
    spent = ComputeTime()
    rows = torch.rand(4096, 4096, device=device)
    torch.cuda.synchronize()
    started = time.perf_counter()
    with meter.measure([Share("toy", spent)]):
        for _ in range(20):
            rows = rows @ rows
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    meter.collect()

    assert 0.3 * seconds < spent.gpu <= 1.05 * seconds
