"""A description of this machine for reports."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("motet", "grpcio", "protobuf", "torch", "transformers", "diffusers", "numpy")


def hardware() -> dict[str, Any]:
    """Return the processor, the usable cores, the memory in GiB, the GPUs, the load and the versions of packages."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: number for name in _PACKAGES if (number := _version(name))},
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    # lscpu knows the names of processors for which /proc/cpuinfo has only part numbers.
    for line in (*_lines("lscpu"), *_read("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip().lower() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _gpus() -> list[str]:
    # torch also lists GPUs, but loading it takes seconds.
    return list(_lines("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"))


def _lines(*command: str) -> tuple[str, ...]:
    if shutil.which(command[0]) is None:
        return ()
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=10, env=os.environ | {"LC_ALL": "C"}
    )
    return tuple(process.stdout.splitlines()) if process.returncode == 0 else ()


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
