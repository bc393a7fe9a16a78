"""Tests of the manifest and of a bundle's verification. Errors name the wrong file."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from motet.core.bundle import MANIFEST, Bundle, bundle_folder, digest_of
from motet.core.errors import BundleError, NotFoundError

ENCODER = {"kind": "imagebind", "path": "encoder", "modalities": ["sight"]}
WEIGHTS = "encoder/model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "encoder").mkdir()
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    write(tmp_path, manifest(tmp_path))
    return tmp_path


def manifest(folder: Path) -> dict[str, Any]:
    decoder = {
        "kind": "painter",
        "path": "decoders/sight",
        "conditioning": [8, 128],
        "media_type": "image/png",
        "steps": 20,
        "guidance": 3,
    }
    return {
        "name": "tiny",
        "licence": "Apache-2.0",
        "description": "For tests.",
        "encoder": ENCODER,
        "language_model": {
            "path": "llm",
            "projections": "projections",
            "prompt": "vicuna-v0",
            "first_control": 1000,
            "max_tokens": 512,
        },
        "signals": {"sight": {"token": "[IMG{i}]", "run": 4, "decoder": "painter"}},
        "decoders": {"painter": decoder},
        "files": {WEIGHTS: digest_of(folder / WEIGHTS)},
    }


def write(folder: Path, document: object) -> None:
    (folder / MANIFEST).write_text(yaml.safe_dump(document, sort_keys=False))


def test_a_valid_bundle_loads(folder: Path) -> None:
    bundle = Bundle.load(folder)

    assert bundle.manifest.decoder_of("sight").guidance == 3.0
    assert bundle.path("encoder") == folder / "encoder"


def test_the_signal_runs_follow_the_two_media_tokens(folder: Path) -> None:
    assert list(Bundle.load(folder).manifest.grammar.run_of("sight").ids) == [1002, 1003, 1004, 1005]


def test_the_signal_runs_have_the_spelling_of_the_manifest(folder: Path) -> None:
    assert str(Bundle.load(folder).manifest.grammar.run_of("sight")) == "[IMG0] to [IMG3]"


def test_a_modality_without_a_signal_has_no_decoder(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="tiny makes sight, not 'smell'"):
        Bundle.load(folder).manifest.decoder_of("smell")


@pytest.mark.parametrize("content", [b"weightz", b"weigh", b""])
def test_the_error_names_a_changed_or_incomplete_file(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(BundleError, match=f"{WEIGHTS} is not the file .* changed or is incomplete"):
        Bundle.load(folder)


def test_the_error_names_a_missing_file(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=f"{WEIGHTS} is missing"):
        Bundle.load(folder)


def test_weights_that_the_manifest_does_not_list_are_refused(folder: Path) -> None:
    (folder / "encoder" / "extra.safetensors").write_bytes(b"?")
    with pytest.raises(BundleError, match="encoder/extra.safetensors is in the bundle tiny"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["encoder/tokenizer.json", "llm/generation_config.json", "weights.bin"])
def test_every_file_that_the_manifest_does_not_list_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"{}")
    with pytest.raises(BundleError, match=f"{name} is in the bundle tiny"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["README.md", "encoder/MODEL_CARD.md", ".gitattributes", ".cache/x.json"])
def test_documents_and_hidden_files_need_not_be_listed(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"?")
    assert Bundle.load(folder).manifest.name == "tiny"


def test_a_process_verifies_only_the_folders_that_it_uses(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"changed")

    assert Bundle.load(folder, folders=["llm"]).manifest.name == "tiny"
    with pytest.raises(BundleError):
        Bundle.load(folder, folders=["encoder"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra: there is no such key; the nearest is "),
        ({"name": None}, "name: Input should be a valid string"),
        ({"files": {"../x": "sha256:" + "0" * 64}}, "files"),
        ({"files": {"/etc/passwd": "sha256:" + "0" * 64}}, "files"),
        ({"files": {WEIGHTS: "md5:0"}}, "files"),
        ({"name": 10**30}, "name"),
        ({"description": {"x" * 5000: 1}}, "description"),
        ({"encoder": {"kind": "clip", "path": "encoder", "modalities": ["sight"]}}, "encoder.kind: Input should be"),
        ({"encoder": ENCODER | {"preprocessing": {"channels": "all"}}}, "encoder.preprocessing.channels: Input should"),
        (
            {"encoder": ENCODER | {"preprocessing": {"colours": 3}}},
            "encoder.preprocessing.colours: there is no such key",
        ),
        ({"signals": {"sight": {"token": "[IMG{i}]", "run": 0, "decoder": "painter"}}}, "signals.sight.run"),
        ({"signals": {"sight": {"token": "[IMG{i}]", "run": 4, "decoder": "ghost"}}}, "names the decoder 'ghost'"),
    ],
)
def test_an_invalid_manifest_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    write(folder, manifest(folder) | change)
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    assert message in caught.value.message


@pytest.mark.parametrize("content", ["", "[]", "name: [", "\x00"])
def test_a_file_that_is_not_a_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(BundleError):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}", "instead of an alias"),
        ("name: &x [a]\nlicence: *x", "instead of an alias"),
        ("[" * 100_000, "nest at most"),
        ("a: " + "{a: " * 30_000, "nest at most"),
        ("- a\n" * 30_000, "at most 5000"),
        ("name: a\nname: b", "two equal keys"),
        ("name: !!python/object/apply:os.system [ls]", "correct line 1"),
        ("name: !!timestamp 2024-99-99", "correct its values"),
        ("name: !!int ''", "correct its values"),
        ("steps: " + "9" * 5000, "correct its values"),
        ("licence: 1" + ":59" * 1000 + ".5", "correct its values"),
        ("name: " + "a" * 200_000, "larger than"),
    ],
)
def test_a_manifest_that_would_cost_much_is_refused_at_once(folder: Path, content: str, message: str) -> None:
    (folder / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.load(folder)
    assert MANIFEST in caught.value.message
    assert len(caught.value.message) < 500


def test_a_date_in_a_manifest_is_text(folder: Path) -> None:
    text = (folder / MANIFEST).read_text().replace("For tests.", "2024-13-45")
    (folder / MANIFEST).write_text(text)
    assert Bundle.load(folder).manifest.description == "2024-13-45"


def test_a_manifest_that_is_no_regular_file_is_refused(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.unlink()
    for make in (manifest.mkdir, lambda: os.mkfifo(manifest), lambda: manifest.symlink_to("/dev/zero")):
        make()
        with pytest.raises(BundleError, match="bundle.yaml is not a regular file"):
            Bundle.load(folder)
        manifest.rmdir() if manifest.is_dir() else manifest.unlink()


def test_a_listed_file_that_is_no_regular_file_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=f"{WEIGHTS} is missing"):
        Bundle.load(folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="bundle.yaml is missing"):
        Bundle.load(tmp_path)


def test_an_unknown_shipped_bundle_is_refused() -> None:
    with pytest.raises(BundleError, match="no bundle 'no-such'"):
        bundle_folder("no-such")


def with_signals(folder: Path, **takes: object) -> Path:
    """Write a manifest with the signals sight and film, whose `takes` are given, and return its folder."""
    document = manifest(folder)
    document["signals"]["film"] = {"token": "[FILM{i}]", "run": 4, "decoder": "painter"}
    document["encoder"] = {**ENCODER, "modalities": ["sight", "sound"]}
    for name, value in takes.items():
        document["signals"][name]["takes"] = value
    write(folder, document)
    return folder


def test_a_slot_is_a_modality_or_a_list_of_alternatives(folder: Path) -> None:
    loaded = Bundle.load(with_signals(folder, film=["sound", ["sight"]])).manifest

    assert loaded.signals["film"].takes == [["sound"], ["sight"]]
    assert loaded.signals["sight"].takes == []
    assert loaded.independent == ("sight",)


@pytest.mark.parametrize(
    ("takes", "message"),
    [
        (["film"], "signals.film takes itself"),
        ([["sight", "film"]], "signals.film takes itself"),
        (["smell"], "signals.film takes 'smell', which no signal makes and the encoder does not read"),
        (["sight", "sight"], "signals.film takes 'sight' twice"),
        ([["sight", "sound"], "sound"], "signals.film takes 'sound' twice"),
        ([["sight", "sight"]], "signals.film takes 'sight' twice"),
        ([[]], "signals.film.takes.0: List should have at least 1 item"),
        ([""], "signals.film.takes.0.0: String should match pattern"),
        ("sight", "signals.film.takes: Input should be a valid list"),
        ([7], "signals.film.takes.0: Input should be a valid list"),
        (["sight", "sound", "sight", "sound"], "signals.film.takes: List should have at most 3 items"),
    ],
)
def test_takes_that_make_no_sense_are_refused_by_name(folder: Path, takes: object, message: str) -> None:
    with pytest.raises(BundleError) as error:
        Bundle.load(with_signals(folder, film=takes))

    assert message in error.value.message
