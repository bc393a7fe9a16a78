"""An encoder that would not compute what its weights were trained for is refused, by the name of the field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.models.encoder.imagebind import load_encoder
from tests.models.crafted_weights import CRAFTED
from tests.models.tiny_bundle import tiny_bundle

WEIGHTS = "encoder/model.safetensors"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


def refusal(bundle: Bundle, **entry: Any) -> str:
    """Return the message with which the encoder is refused. `entry` changes fields of its entry in the manifest."""
    encoder = bundle.manifest.encoder.model_copy(update=entry)
    manifest = bundle.manifest.model_copy(update={"encoder": encoder})
    with pytest.raises(BundleError) as caught:
        load_encoder(Bundle(bundle.folder, manifest, bundle.digest))
    return caught.value.message


@pytest.mark.parametrize(
    ("part", "values", "expected"),
    [
        (None, {"text": {"width": 16}}, "text: Unexpected keyword argument"),
        (None, {"width": "16"}, 'width: Input should be a valid integer, not "16"'),
        (None, {"width": 0}, "width: Input should be greater than or equal to 1, not 0"),
        ("vision", {"heads": 3}, "vision: Value error, width must be a multiple of heads, 3"),
        ("vision", {"patch": 7}, "vision: Value error, size must be a multiple of patch, 7"),
        ("vision", {"blocks": 10**9}, "vision.blocks: Input should be less than or equal to 1000"),
        ("vision", {"depth": 2}, "vision.depth: Unexpected keyword argument"),
        ("audio", {"kernel": 200}, "audio: Value error, bins and frames must be at least kernel, 200"),
        ("audio", {"deviation": float("nan")}, "audio.deviation: Input should be"),
        ("audio", {"deviation": 0}, "audio.deviation: Input should be greater than 0"),
    ],
)
def test_a_field_that_is_not_implemented_is_refused_with_its_value(
    bundle: Bundle, part: str | None, values: dict[str, Any], expected: str
) -> None:
    path = bundle.path("encoder/config.json")
    config = json.loads(path.read_text())
    (config if part is None else config[part]).update(values)
    path.write_text(json.dumps(config))

    assert refusal(bundle).startswith(f"encoder/config.json: {expected}")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"kind": "toy"}, 'encoder.kind must be "imagebind", not "toy"'),
        ({"modalities": ["image", "smell"]}, 'encoder.modalities must be "image" or "audio" or "video", not "smell"'),
    ],
)
def test_an_entry_of_the_manifest_that_does_not_fit_the_encoder_is_refused(
    bundle: Bundle, entry: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(bundle, **entry)


def test_a_parameter_of_another_shape_is_refused_with_its_name(bundle: Bundle) -> None:
    state = load_file(bundle.path(WEIGHTS))
    name = "modality_heads.audio.2.weight"
    save_file(state | {name: torch.zeros(2, 16)}, bundle.path(WEIGHTS))

    assert f"{WEIGHTS}: {name} must have the shape [16, 16], not [2, 16]" in refusal(bundle)


@pytest.mark.parametrize("kind", ["a truncated header", "overlapping tensors", "two tensors of equal name"])
def test_a_broken_safetensors_file_is_refused_by_its_name(bundle: Bundle, kind: str) -> None:
    bundle.path(WEIGHTS).write_bytes(CRAFTED[kind])

    assert WEIGHTS in refusal(bundle)


def test_a_config_that_is_not_json_or_too_large_is_refused_by_its_name(bundle: Bundle) -> None:
    for content in ("[" * 10**5, '{"width": 1, "width": 2}', " " * (9 * 2**20)):
        bundle.path("encoder/config.json").write_text(content)
        assert refusal(bundle).startswith("encoder/config.json is")


def test_a_config_of_any_size_needs_no_memory_before_it_is_refused(bundle: Bundle) -> None:
    """The network of this config would take terabytes."""
    path = bundle.path("encoder/config.json")
    config = json.loads(path.read_text())
    config["vision"] |= {"width": 65536, "size": 65536, "blocks": 4}
    path.write_text(json.dumps(config))

    assert f"{WEIGHTS}" in refusal(bundle)


def test_loading_an_encoder_does_not_import_the_compiler_of_torch(bundle: Bundle) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from motet.core.bundle import Bundle; from motet.models.encoder.imagebind import load_encoder\n"
        f"load_encoder(Bundle.load(Path({str(bundle.folder)!r})), 'cpu').close()\n"
        "sys.exit(str({'torch._dynamo'} & set(sys.modules) or ''))"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr.strip() == ""
