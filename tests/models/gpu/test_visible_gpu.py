"""Tests of the GPUs that CUDA_VISIBLE_DEVICES names, with a fake NVML library behind the real bindings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.models.gpu.fake_nvml import compiled, needs_compiler

_CHILD = """
import json, sys
import pynvml
from motet.models.gpu.visible_gpu import visible_gpus

pynvml.nvmlInit()
for line in sys.stdin:
    print(json.dumps([gpu.mig_uuid or gpu.uuid for gpu in visible_gpus(json.loads(line))]))
"""
G0, G1 = (f"GPU-{gpu}0000000-1111-2222-3333-444444444444" for gpu in range(2))
M0, M1 = (f"MIG-1{instance}000000-1111-2222-3333-444444444444" for instance in range(2))


def visible(library: Path, state: Path, settings: list[str | None]) -> list[list[str]]:
    """Return the UUIDs that a process finds for each setting."""
    environment = {**os.environ, "FAKE_NVML": str(state), "LD_LIBRARY_PATH": str(library)}
    lines = "".join(f"{json.dumps(setting)}\n" for setting in settings)
    command = [sys.executable, "-c", _CHILD]
    output = subprocess.run(command, env=environment, input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


@needs_compiler
def test_numbers_uuids_and_instances_name_gpus_as_in_cuda(tmp_path: Path) -> None:
    library = compiled(tmp_path / "library")
    expected: dict[str | None, list[str]] = {
        None: [G0, G1],
        "1": [G1],
        "1, 0": [G1, G0],
        "GPU-1": [G1],
        f"{G0},{G1}": [G0, G1],
        "": [],
        "-1": [],
        "none": [],
        "²": [],
        # The first name that no GPU has ends the list.
        "0,7,1": [G0],
        # The beginning of a UUID must be that of one GPU only.
        "GPU-": [],
        "GPU-9": [],
        M0: [],
    }
    assert dict(zip(expected, visible(library, tmp_path, [*expected]), strict=True)) == expected

    (tmp_path / "mig_1").write_text("1")
    of_instances: dict[str | None, list[str]] = {
        None: [G0, M0],
        "1": [M0],
        M1: [M1],
        f"{M1},{M0}": [M1, M0],
        f"MIG-{G1}/8/0": [M1],
        f"MIG-{G1}/9/0": [],
        "MIG-9": [],
    }
    assert dict(zip(of_instances, visible(library, tmp_path, [*of_instances]), strict=True)) == of_instances
