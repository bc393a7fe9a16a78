"""A fake NVML library, compiled from C, and a child process that reads it through the real bindings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import until

SOURCE = Path(__file__).with_name("fake_nvml.c")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="the fake NVML library needs a C compiler: install gcc")

_CHILD = """
import asyncio, sys
from motet.core.telemetry.service_kind import ServiceKind
from motet.models.gpu.gpu_monitor import GpuMonitor
from motet.transport.metrics_server import MetricsServer

async def main(index, max_age):
    with GpuMonitor("decoder", index, timeout=0.25, max_age=max_age) as monitor:
        async with MetricsServer("127.0.0.1:0", ServiceKind.DECODER) as server:
            server.before_scrape = monitor.refresh
            server.is_serving = lambda name: True
            print(server.address, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
"""

Samples = Mapping[tuple[str, ...], float]
"""Values of a family by the values of its labels, without `component` and the UUID of the GPU."""


def compiled(folder: Path, *options: str) -> Path:
    """Compile the library into a folder, and return the folder."""
    assert COMPILER is not None
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([COMPILER, "-shared", "-fPIC", *options, "-o", library, SOURCE], check=True)
    return folder


@dataclass(frozen=True)
class MonitoredProcess:
    """A process that exports the readings of its GPU. `state` is the folder of the fake library."""

    address: str
    state: Path

    def set(self, name: str, value: int) -> None:
        """Change a value, or the error of a function, of the library."""
        file = self.state / name
        file.parent.mkdir(exist_ok=True)
        # A reader must never find an empty file.
        new = file.with_name(f".{file.name}")
        new.write_text(str(value))
        new.rename(file)

    def unset(self, name: str) -> None:
        """Remove a value, an error or a hang."""
        (self.state / name).unlink()

    def scrape(self) -> Mapping[str, Samples]:
        """Return the samples of the GPU's families, by name."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=20) as response:
            text = response.read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("motet_gpu"):
                    labels = tuple(
                        value for label, value in sample.labels.items() if label not in ("component", "gpu_uuid")
                    )
                    found.setdefault(sample.name.removeprefix("motet_gpu_"), {})[labels] = sample.value
        return found

    def info(self) -> Mapping[str, str]:
        """Return the labels of `motet_gpu_info`."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=20) as response:
            text = response.read().decode()
        [family] = [each for each in text_string_to_metric_families(text) if each.name == "motet_gpu_info"]
        return family.samples[0].labels if family.samples else {}

    def health(self) -> int:
        """Return the status of `/health`."""
        with urllib.request.urlopen(f"http://{self.address}/health", timeout=20) as response:
            return int(response.status)

    async def until(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Scrape until a sample has a value."""
        await until(lambda: self.scrape().get(name, {}).get(labels) == value)


@contextmanager
def monitored(
    library: Path | None,
    state: Path,
    *,
    visible: str | None = None,
    index: int = 0,
    max_age: float = 60.0,
    **values: int,
) -> Iterator[MonitoredProcess]:
    """Run a process that uses "cuda:`index`" of the GPUs that CUDA_VISIBLE_DEVICES, `visible`, names.

    `values` are values of the library. The process ends in time, also if a call of the library hangs.
    """
    state.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"FAKE_NVML": str(state)} | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    environment["LD_LIBRARY_PATH"] = "" if library is None else str(library)
    for name, value in values.items():
        (state / name).write_text(str(value))
    command = [sys.executable, "-c", _CHILD, str(index), str(max_age)]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield MonitoredProcess(process.stdout.readline().strip(), state)
        process.communicate("", timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
