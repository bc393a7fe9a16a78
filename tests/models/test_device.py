import pytest
import torch

from motet.core.errors import SettingsError
from motet.models.device import device_of


def test_a_device_is_selected_by_its_name_or_automatically() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("setting", ["", "gpu", "cuda:", "cuda:x", "CPU", "mps"])
def test_a_name_of_no_device_is_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="MOTET_DEVICE"):
        device_of(setting)


def test_a_missing_device_is_refused_with_the_number_of_gpus() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(SettingsError, match=f"finds {count} GPUs"):
        device_of(f"cuda:{count}")
