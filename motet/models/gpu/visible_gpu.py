"""The GPUs that CUDA shows to this process, found with NVML."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

Handle = Any
"""A handle of NVML: of a GPU, or of an instance of one."""
T = TypeVar("T")

_LEGACY_MIG = re.compile(r"MIG-(GPU-[^/]+)/(\d+)/(\d+)")
"""The name of a MIG instance in old drivers: the GPU's UUID, the GPU instance and the compute instance."""
_ABSENT = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
"""Errors of functions that this GPU, driver or container lacks."""


@dataclass(frozen=True, slots=True)
class VisibleGpu:
    """A GPU, or an instance of one (MIG).

    `uuid` and `gpu` are the UUID and the handle of the whole GPU. `handle` is that of the instance, or `gpu`.
    `mig_uuid` and `mig_profile`, for example "1g.5gb", are empty for a whole GPU.
    """

    uuid: str
    gpu: Handle
    handle: Handle
    name: str
    mig_uuid: str = ""
    mig_profile: str = ""


def if_supported(read: Callable[[], T]) -> T | None:
    """Return the result of calls of NVML, or None if the GPU or its driver lacks one of them.

    Raises `pynvml.NVMLError` for all other errors.
    """
    try:
        return read()
    except pynvml.NVMLError as error:
        if error.value in _ABSENT:
            return None
        raise


def visible_gpus(setting: str | None = None) -> list[VisibleGpu]:
    """Return the GPUs that CUDA shows, in CUDA's order, for a value of CUDA_VISIBLE_DEVICES.

    `setting` None stands for an absent variable: all GPUs are visible. As in CUDA, the first name that no GPU has ends
    the list. Numbers count the GPUs in the order of their PCI bus, so CUDA_DEVICE_ORDER has to be PCI_BUS_ID if the
    GPUs of the machine are of several kinds. Of a GPU with MIG that is not named by an instance, the first instance is
    visible. Raises `pynvml.NVMLError`.
    """
    if setting is None:
        return [_whole_or_first_instance(gpu) for gpu in _gpus()]
    found = []
    for name in setting.split(","):
        gpu = _named(name.strip())
        if gpu is None:
            break
        found.append(gpu)
    return found


def visible_gpu(index: int) -> VisibleGpu | None:
    """Return the GPU that PyTorch calls "cuda:INDEX" in this process, or None. Raises `pynvml.NVMLError`."""
    gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
    return gpus[index] if index < len(gpus) else None


def _named(name: str) -> VisibleGpu | None:
    """Return the GPU or the instance that a name in CUDA_VISIBLE_DEVICES means, or None."""
    if legacy := _LEGACY_MIG.fullmatch(name):
        uuid, *ids = legacy.groups()
        instances = (instance for gpu in _gpus() if _uuid(gpu) == uuid for instance in _instances(gpu))
        return next((_instance(one) for one in instances if _ids(one) == tuple(map(int, ids))), None)
    if name.startswith("MIG-"):
        instances = (instance for gpu in _gpus() for instance in _instances(gpu))
        return next((_instance(one) for one in instances if _uuid(one) == name), None)
    if name.startswith("GPU-"):
        # CUDA accepts the beginning of a UUID, if it is that of one GPU only.
        matches = [gpu for gpu in _gpus() if _uuid(gpu).startswith(name)]
        return _whole_or_first_instance(matches[0]) if len(matches) == 1 else None
    gpus = list(_gpus())
    if not (name.isascii() and name.isdigit()) or int(name) >= len(gpus):
        return None
    return _whole_or_first_instance(gpus[int(name)])


def _gpus() -> Iterator[Handle]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        yield pynvml.nvmlDeviceGetHandleByIndex(index)


def _instances(gpu: Handle) -> Iterator[Handle]:
    """Yield the MIG instances of a GPU. It has none without MIG."""
    for index in range(if_supported(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu)) or 0):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index)
        except pynvml.NVMLError_NotFound:
            continue  # No instance has this number.


def _whole_or_first_instance(gpu: Handle) -> VisibleGpu:
    mode = if_supported(lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0])
    instance = next(_instances(gpu), None) if mode == pynvml.NVML_DEVICE_MIG_ENABLE else None
    return VisibleGpu(_uuid(gpu), gpu, gpu, _name(gpu)) if instance is None else _instance(instance)


def _instance(instance: Handle) -> VisibleGpu:
    gpu = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
    _, _, profile = _name(instance).partition(" MIG ")
    return VisibleGpu(_uuid(gpu), gpu, instance, _name(gpu), _uuid(instance), profile)


def _ids(instance: Handle) -> tuple[int, int]:
    return pynvml.nvmlDeviceGetGpuInstanceId(instance), pynvml.nvmlDeviceGetComputeInstanceId(instance)


def _uuid(handle: Handle) -> str:
    return str(pynvml.nvmlDeviceGetUUID(handle))


def _name(handle: Handle) -> str:
    return str(pynvml.nvmlDeviceGetName(handle))
