"""The command line, in processes: imports, output, files and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from motet.core.bundle import digest_of
from motet.core.errors import BundleError
from motet.media.encode import encode_picture, encode_sound
from motet.toys.manifest import TOY
from services.encoder.settings import EncoderSettings
from services.serve import factory_of
from services.settings import settings_of
from tests.services.command import CLEAN, files_in, interrupt, motet, started

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["serve", "--help"], ["up", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from services.cli.app import app\n"
        f"sys.argv = ['motet', *{arguments!r}]\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'grpc', 'transformers', 'diffusers', 'av'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=CLEAN)

    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


def test_every_command_documents_its_exit_codes() -> None:
    for command in (["run"], ["chat"], ["models"], ["up"], ["serve", "decoder"]):
        assert "130 stopped by Ctrl-C" in " ".join(motet(*command, "--help").stdout.split())


def test_the_version_is_the_package_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert motet("--version").stdout == f"motet {project['version']}\n"


def test_the_models_name_the_media_that_a_modality_takes() -> None:
    lines = motet("models", "--toy").stdout.splitlines()

    taking = [line for line in lines if "takes" in line]
    assert len(taking) == 1
    assert "mix" in taking[0]
    assert "takes image and audio and video" in taking[0]


def test_a_run_streams_text_and_writes_files(tmp_path: Path) -> None:
    result = motet("run", "hello there", "--toy", "--out", tmp_path)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("You said: hello there.")
    assert list(files_in(tmp_path)) == ["01-image.bin", "02-audio.bin", "03-video.bin"]
    assert "succeeded in" in result.stderr.splitlines()[-1]


def test_the_prompt_can_be_read_from_standard_input(tmp_path: Path) -> None:
    result = motet("run", "-", "--toy", "--only", "text", "--out", tmp_path, stdin="from a pipe")

    assert result.stdout.startswith("You said: from a pipe.")
    assert not files_in(tmp_path)


def test_json_lines_are_in_order_and_name_complete_files(tmp_path: Path) -> None:
    result = motet("run", "hello", "--toy", "--json", "--seed", 3, "--out", tmp_path, "--steps", "image=3")

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [lines[0]["event"], lines[0]["seed"]] == ["accepted", 3]
    assert [lines[-1]["event"], lines[-1]["state"], lines[-1]["exit_code"]] == ["done", "SUCCEEDED", result.returncode]
    sequences = [line["sequence"] for line in lines]
    assert sequences == sorted(set(sequences))
    started_parts = [line["part_id"] for line in lines if line["event"] == "part_started"]
    ended_parts = [line["part_id"] for line in lines if line["event"] in ("part_done", "part_failed")]
    assert sorted(started_parts) == sorted(ended_parts) == sorted(set(started_parts))
    files = {line["path"]: line["sha256"] for line in lines if line["event"] == "part_done" and "path" in line}
    assert len(files) == 3
    assert all(sha256(Path(path).read_bytes()).hexdigest() == digest for path, digest in files.items())
    assert max(line["total_steps"] for line in lines if line["event"] == "part_progress") == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run"], 2, "prompt"),
        (["run", "", "--toy"], 2, "INVALID_REQUEST"),
        (["run", "   ", "--toy"], 2, "INVALID_REQUEST"),
        (["run", "hello", "--toy", "--only", "smell"], 2, "MODALITY_NOT_SUPPORTED"),
        (["run", "hello", "--toy", "--steps", "image"], 2, "--steps takes MODALITY=NUMBER"),
        (["run", "hello", "--toy", "--steps", "smell=3"], 2, "smell"),
        (["run", "hello", "--toy", "--seed", "-1"], 2, "seed"),
        (["run", "hello", "--toy", "--seed", str(2**64)], 2, "seed"),
        (["run", "caf\udce9", "--toy"], 2, "not UTF-8"),
        (["run", "hello", "--toy", "--timeout", "0.0001"], 2, "timeout"),
        (["run", "hello", "--toy", "--timeout", "0.3", "--out", "late"], 5, "DEADLINE_EXCEEDED"),
        (["run", "hello", "--server", "127.0.0.1:1", "--timeout", "5"], 4, "WORKER_UNAVAILABLE"),
        (["run", "hello", "--server", "not an address"], 2, "HOST:PORT"),
        (["run", "hello", "--bundle", "nowhere/at/all"], 2, "BUNDLE_INVALID"),
        (["run", "hello", "--bundle", "missing"], 2, "BUNDLE_INVALID"),
        (["run", "hello", "--bundle", "/dev/null"], 2, "/dev/null is a file"),
        (["run", "hello", "--toy", "--image", "absent.png"], 2, "absent.png is not a file"),
        (["run", "hello", "--server", "127.0.0.1:1", "--bundle", "missing"], 2, "--bundle has no effect with --server"),
        (["chat", "--server", "127.0.0.1:1", "--device", "cpu"], 2, "--device has no effect with --server"),
        (["models", "--server", "127.0.0.1:1", "--toy"], 2, "--toy has no effect with --server"),
        (["run", "hello", "--device", "gpu"], 2, "must be auto, cpu, cuda or cuda:NUMBER, not 'gpu'"),
        (["serve", "llm", "--device", "gpu"], 2, "must be auto, cpu, cuda or cuda:NUMBER, not 'gpu'"),
        (["up", "--toy", "--bundle", "missing"], 2, "--bundle has no effect with --toy"),
        (["up", "--toy", "--threads", "2"], 2, "--threads has no effect with --toy"),
        (["run", "hello", "--toy", "--threads", "2"], 2, "--threads has no effect with --toy"),
        (["models", "--toy", "--bundle", "missing"], 2, "--bundle has no effect with --toy"),
        (["serve", "encoder", "--toy", "--device", "cpu"], 2, "--device has no effect with --toy"),
        (["serve", "orchestrator", "--toy", "--bundle", "nano"], 2, "--bundle has no effect with --toy"),
        (["chat", "--bundle", "missing"], 2, "BUNDLE_INVALID"),
        (["models", "--server", "127.0.0.1:1"], 4, "WORKER_UNAVAILABLE"),
        (["serve", "decoder", "--toy"], 2, "MOTET_MODALITY"),
        (["serve", "decoder", "--modality", "smell", "--toy"], 2, "smell"),
        (["serve", "encoder", "--bundle", "missing"], 2, "BUNDLE_INVALID"),
        (["serve", "encoder", "--toy", "--listen", "0.0.0.0:0"], 2, "network"),
        (["serve", "encoder", "--toy", "--threads", "0"], 2, "--threads"),
        (["up", "--bundle", "missing"], 2, "BUNDLE_INVALID"),
    ],
)
def test_a_wrong_command_prints_one_line_and_has_an_exit_code(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code == 5:
        monkeypatch.setitem(CLEAN, "MOTET_TOY_DELAY", "0.05")

    result = motet(*arguments, folder=tmp_path)

    assert (result.returncode, message in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("motet: ")]) <= 5


def test_with_json_an_error_is_a_json_line(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("just words")

    result = motet("run", "what is this?", "--toy", "--json", "--image", tmp_path / "notes.png")

    (line,) = map(json.loads, result.stdout.splitlines())
    assert (line["event"], line["reason"], line["exit_code"]) == ("error", "UNSUPPORTED_MEDIA_TYPE", 2)
    assert result.returncode == 2
    assert "notes.png" in result.stderr


@pytest.mark.parametrize("broken", ["picture.png", "sound.wav"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, broken: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    media = {"picture.png": encode_picture(noise.astype(np.uint8)), "sound.wav": encode_sound(np.zeros(99, "f4"), 8000)}
    for name, complete in media.items():
        (tmp_path / name).write_bytes(complete.data[: len(complete.data) // (2 if name == broken else 1)])

    result = motet("run", "what?", "--toy", "--attach", tmp_path / "picture.png", "--attach", tmp_path / "sound.wav")

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"motet: {tmp_path / broken}: ")
    assert "MEDIA_UNREADABLE" in line


def test_ctrl_c_stops_a_run_and_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_TOY_DELAY", "0.2")

    with started("run", "hello", "--toy", "--json", "--out", tmp_path / "out") as run:
        assert run.stdout is not None
        while '"part_started"' not in run.stdout.readline():
            pass
        _, errors = interrupt(run)

    assert run.returncode == 130
    assert errors == "motet: stopped\n"
    assert not (tmp_path / "out").exists()


def test_a_closed_standard_output_ends_a_run_without_a_message(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    result = subprocess.run(
        [sys.executable, "-m", "services", "run", "hello", "--toy", "--json", "--out", str(tmp_path)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env=CLEAN,
        cwd=ROOT,
    )
    os.close(writer)

    assert (result.returncode, result.stderr) == (1, "")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write a bundle whose files match the digests in its manifest, but are no weights of a model."""
    folder = tmp_path / "bundle"
    names = [f"{part}/model.safetensors" for part in ("encoder", "llm", "projections", "decoders/image")]
    for name in names:
        (folder / name).parent.mkdir(parents=True)
        save_file({"name": np.frombuffer(name.encode(), np.uint8)}, folder / name)
    manifest = TOY.model_dump() | {"files": {name: digest_of(folder / name) for name in names}}
    (folder / "bundle.yaml").write_text(yaml.safe_dump(manifest))
    return folder


@pytest.mark.parametrize("damage", ["altered", "half-written", "missing"])
def test_a_bundle_with_a_damaged_file_is_refused_by_the_name_of_the_file(bundle: Path, damage: str) -> None:
    file = bundle / "decoders/image/model.safetensors"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:7] if damage == "half-written" else b"something else")

    for command in (["run", "hello"], ["serve", "decoder", "--modality", "image", "--listen", "127.0.0.1:0"]):
        result = motet(*command, "--bundle", bundle)

        assert result.returncode == 2, result.stderr
        (line,) = result.stderr.splitlines()
        assert line.startswith("motet: decoders/image/model.safetensors is ")
        assert "BUNDLE_INVALID" in line


def test_a_service_verifies_only_what_it_opens(bundle: Path) -> None:
    (bundle / "decoders/image/model.safetensors").write_bytes(b"something else")
    settings = settings_of(EncoderSettings, {"bundle": str(bundle)})

    assert factory_of(settings, lambda manifest: (manifest.encoder.path,)).manifest.name == "toy"
    with pytest.raises(BundleError, match="decoders/image"):
        factory_of(settings, lambda manifest: (manifest.decoders["image"].path,))
