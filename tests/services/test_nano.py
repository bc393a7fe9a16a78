"""The nano bundle gives the same bytes in one process and through services, and keeps to the allowed modalities."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.services.command import files_in, motet, started, table_of

PROMPT = "Draw a penguin on a blue background, animate it growing, play a low note on a flute, and put both together."
# Few steps: the test compares bytes, not quality.
QUICK = ("--steps", "image=2", "--steps", "audio=2", "--steps", "animation=2")


def digests(folder: Path, *options: object) -> list[tuple[str, str]]:
    """Run the prompt, and return the modality and the SHA-256 of each part, in order."""
    result = motet("run", PROMPT, "--seed", 11, "--json", "--out", folder, *QUICK, *options)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    modality = {line["part_id"]: line["modality"] for line in lines if line["event"] == "part_started"}
    index = {line["part_id"]: line["index"] for line in lines if line["event"] == "part_started"}
    done = sorted((line for line in lines if line["event"] == "part_done"), key=lambda line: index[line["part_id"]])
    return [(modality[line["part_id"]], line["sha256"]) for line in done]


@pytest.mark.timeout(300)
def test_a_seed_gives_the_same_bytes_embedded_through_services_and_when_repeated(tmp_path: Path) -> None:
    embedded = digests(tmp_path / "embedded")
    # Without a media cache: cached media prove nothing.
    with started("up", "--port", 0, media_cache_bytes="0") as up:
        address, metrics = table_of(up)["orchestrator"]
        remote, repeated = (digests(tmp_path / name, "--server", address) for name in ("remote", "repeated"))
        with urlopen(f"http://{metrics}/metrics") as page:
            exposition = page.read().decode()

    assert [modality for modality, _ in embedded if modality != "text"] == ["image", "animation", "audio", "film"]
    assert embedded == remote == repeated
    assert 'motet_parts_total{fault="",modality="film",reason=""} 2.0' in exposition
    assert "motet_decoder_cache_total{" not in exposition


def test_a_picture_that_is_not_allowed_becomes_no_sound_and_is_reported(tmp_path: Path) -> None:
    result = motet("run", "Show me a cat.", "--only", "audio", "--seed", 1, "--json", "--out", tmp_path)

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == lines[-1]["exit_code"] == 3
    assert [line["modality"] for line in lines if line["event"] == "part_started"] == ["text", "image"]
    [failed] = [line for line in lines if line["event"] == "part_failed"]
    assert (failed["reason"], failed["metadata"]) == ("MODALITY_NOT_ALLOWED", {"modality": "image"})
    assert lines[-1]["state"] == "PARTIAL"
    assert not list(files_in(tmp_path))
