"""The list of a sealed bundle's files and digests."""

from pathlib import Path

import pytest

from motet.core.bundle import MANIFEST, Bundle, digest_of
from motet.core.errors import BundleError
from motet.training.seal_bundle import seal_bundle

SETTINGS = """# A comment stays.
name: tiny
licence: Apache-2.0
description: For tests.
encoder: {kind: imagebind, path: encoder, modalities: [sight]}
language_model: {path: llm, projections: projections, prompt: vicuna-v0, first_control: 9, max_tokens: 64}
signals: {}
decoders: {}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "MODEL_CARD.md").write_text("# Tiny")
    (tmp_path / MANIFEST).write_text(SETTINGS + "files: {}\n")
    return tmp_path


def test_a_sealed_bundle_lists_its_files_without_its_documents(folder: Path) -> None:
    bundle = seal_bundle(folder)

    assert bundle.manifest.files == {
        "encoder/model.safetensors": digest_of(folder / "encoder" / "model.safetensors"),
    }
    assert (folder / MANIFEST).read_text().startswith(SETTINGS)


def test_sealing_again_updates_the_digest_of_a_changed_file(folder: Path) -> None:
    first = seal_bundle(folder)
    (folder / "encoder" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(BundleError, match="changed or is incomplete"):
        Bundle.load(folder)

    second = seal_bundle(folder)

    assert second.digest != first.digest
    assert seal_bundle(folder).digest == second.digest
