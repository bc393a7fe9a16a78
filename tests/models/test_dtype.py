import pytest
import torch

from motet.models.dtype import DtypeSetting, dtype_of

# Weights on the device "meta" have no values. It stands for every device that is not a CPU.
GPU, CPU = torch.device("meta"), torch.device("cpu")


def weights(**sizes: int) -> list[torch.Tensor]:
    return [torch.empty(size, dtype=getattr(torch, name)) for name, size in sizes.items()]


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"float16": 5}, torch.float16),
        ({"bfloat16": 5}, torch.bfloat16),
        ({"float32": 5}, torch.float32),
        ({"float64": 5}, torch.float32),
        ({"float16": 5, "float32": 3}, torch.float16),
        ({"float16": 2, "float32": 3}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_network_on_a_gpu_computes_in_the_dtype_of_most_of_its_values(
    stored: dict[str, int], expected: torch.dtype
) -> None:
    assert dtype_of("auto", GPU, weights(**stored)) == expected


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_a_network_on_a_cpu_computes_in_single_precision(stored: str) -> None:
    assert dtype_of("auto", CPU, weights(**{stored: 5})) == torch.float32


@pytest.mark.parametrize("device", [GPU, CPU])
@pytest.mark.parametrize("setting", ["float32", "bfloat16", "float16"])
def test_a_named_dtype_replaces_that_of_the_weights(setting: DtypeSetting, device: torch.device) -> None:
    assert dtype_of(setting, device, weights(float16=3, float32=4)) == getattr(torch, setting)
