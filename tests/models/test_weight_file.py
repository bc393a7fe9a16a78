"""Every broken safetensors file is refused by its name, before its weights are read."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from motet.core.errors import BundleError
from motet.models.weight_file import check_weight_file, parse_json
from motet.training.seal_bundle import seal_bundle
from services.factory import open_bundle
from tests.models.crafted_weights import CRAFTED, file_of, tensor
from tests.models.tiny_bundle import tiny_bundle


@pytest.mark.parametrize("kind", CRAFTED)
def test_a_broken_file_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(CRAFTED[kind])

    with pytest.raises(BundleError, match=r"llm/model\.safetensors"):
        check_weight_file(tmp_path / "model.safetensors", "llm/model.safetensors")


def test_a_valid_file_is_accepted(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, tmp_path / "a.safetensors", {"format": "pt"})
    (tmp_path / "b.safetensors").write_bytes(file_of({"a": tensor(0, 8)}))

    check_weight_file(tmp_path / "a.safetensors", "a")
    check_weight_file(tmp_path / "b.safetensors", "b")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[",
        b"[]",
        b"1",
        b'{"a":1,"a":2}',
        b"[" * 10**6,
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_other_json_than_one_object_of_unique_keys_is_refused_by_its_name(raw: bytes) -> None:
    with pytest.raises(BundleError, match="llm/config.json (is not|has more than 16 nested)"):
        parse_json(raw, "llm/config.json")


def test_a_bundle_with_a_broken_file_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """The manifest lists the sha256 of the broken file, so only the header is wrong."""
    bundle = tiny_bundle(tmp_path / "bundle")
    (bundle.folder / "lora" / "adapter_model.safetensors").write_bytes(CRAFTED["truncated data"])
    seal_bundle(bundle.folder)

    with pytest.raises(BundleError, match=r"lora/adapter_model\.safetensors is not a valid safetensors file"):
        open_bundle(str(bundle.folder))
    assert open_bundle(str(bundle.folder), ("encoder",)).manifest.name == "tiny"
