"""The bundle that ships with Motet, through the command line: the same bytes, wherever it runs."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.services.command import motet, started, table_of

PROMPT = "Show me a penguin on a blue background, play a low note on a flute, and make a clip of a rocket moving up."
# Few steps: it is the same bytes that are wanted here, not good ones.
QUICK = ("--steps", "image=2", "--steps", "audio=2", "--steps", "video=2")


def digests(folder: Path, *where: object) -> list[tuple[str, str]]:
    """Each part's modality and sha256, in the answer's order."""
    ran = motet("run", PROMPT, "--seed", 11, "--json", "--out", folder, *QUICK, *where)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    modality = {line["part_id"]: line["modality"] for line in lines if line["event"] == "part_started"}
    order = {line["part_id"]: line["index"] for line in lines if line["event"] == "part_started"}
    done = sorted((line for line in lines if line["event"] == "part_done"), key=lambda line: order[line["part_id"]])
    return [(modality[line["part_id"]], line["sha256"]) for line in done]


@pytest.mark.timeout(300)
def test_a_seed_gives_the_same_bytes_embedded_and_through_services_and_twice_in_a_row(tmp_path: Path) -> None:
    here = digests(tmp_path / "here")
    # Media that are given again prove nothing: each is to be made.
    with started("up", "--port", 0, reuse_bytes="0") as up:
        address, metrics = table_of(up)["orchestrator"]
        there, again = (digests(tmp_path / name, "--server", address) for name in ("there", "again"))
        with urlopen(f"http://{metrics}/metrics") as page:
            counted = page.read().decode()

    assert {modality for modality, _ in here} == {"text", "image", "audio", "video"}
    assert here == there == again
    assert 'motet_parts_total{modality="video",reason=""} 2.0' in counted
    assert "motet_decoder_cache_total{" not in counted
