"""Which machine this is, as far as figures depend on it."""

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
    """The processor, its usable cores, memory in GiB, the GPUs, and the versions of what computes on them."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    # lscpu knows what the part numbers of processors mean that do not say their name themselves.
    for line in (*_lines("lscpu"), *_read("/proc/cpuinfo")):
        key, _, value = line.partition(":")
        if key.strip().lower() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _gpus() -> list[str]:
    # Asking torch would load it, for benchmarks that compute nothing.
    return list(_lines("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"))


def _lines(*command: str) -> tuple[str, ...]:
    if shutil.which(command[0]) is None:
        return ()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=10, env=os.environ | {"LC_ALL": "C"}
    )
    return tuple(done.stdout.splitlines()) if done.returncode == 0 else ()


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
