import pytest
import torch

from motet.core.errors import SettingsError
from motet.models.device import device_of


def test_a_device_is_taken_by_its_name_or_found() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("wanted", ["", "gpu", "cuda:", "cuda:x", "CPU", "mps"])
def test_what_names_no_device_is_refused(wanted: str) -> None:
    with pytest.raises(SettingsError, match="MOTET_DEVICE"):
        device_of(wanted)


def test_a_device_that_is_not_there_is_refused_with_how_many_are() -> None:
    there = torch.cuda.device_count()
    with pytest.raises(SettingsError, match=f"finds {there} GPUs"):
        device_of(f"cuda:{there}")
