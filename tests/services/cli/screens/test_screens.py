"""The screens of an answer: plain lines, bars on a terminal, and JSON lines."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from motet.core.errors import FaultError, Reason
from motet.core.events import (
    Accepted,
    Artifact,
    Done,
    Event,
    EventPayload,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartProgress,
    PartStarted,
    PlanGrown,
    PlanInput,
    PlanNode,
    State,
    Usage,
)
from motet.core.media import Media
from services.cli.screens.json_lines import JsonScreen
from services.cli.screens.live_screen import LiveScreen
from services.cli.screens.plain_screen import PlainScreen
from services.cli.screens.screen import SavedMedia, Screen
from services.lazy import LazyWorker, decoder_name

PICTURE = Media("image/png", b"picture")
TWO_OMITTED = Usage(3, 4, 2, 0.5, omitted_turns=2)
ARTIFACT = Artifact("artifacts/a", "image", "image/png", 7, PICTURE.sha256, 0.0)
LOST = PartFailed("p2", FaultError("the worker is gone", Reason.WORKER_LOST), retryable=True)
ANSWER: list[EventPayload] = [
    Accepted("generations/g", seed=5),
    PartStarted("p0", 0, "text", "text/plain", 0),
    PartDelta("p0", 0, "Here is "),
    PartDelta("p0", 8, "a penguin\x1b]0;owned\x07."),
    PartDone("p0", b"\x01" * 32),
    PlanGrown((PlanNode("p1", "image"),), complete=False),
    PartStarted("p1", 1, "image", "image/png", 19, "a penguin"),
    PartProgress("p1", 1, 2),
    PartStarted("p2", 2, "audio", "audio/wav", 19),
    PartDelta("p1", 0, PICTURE.data),
    LOST,
    PartDone("p1", PICTURE.sha256, ARTIFACT, {"bundle": "toy"}),
    TWO_OMITTED,
    Done(Generation("generations/g", State.PARTIAL, (PartDone("p1", PICTURE.sha256, ARTIFACT),), (LOST,), TWO_OMITTED)),
]


def show_answer(screen: Screen, folder: Path) -> None:
    """Show all events of `ANSWER`."""
    paths = {"p1": folder / "01-image.png", "p2": folder / "02-audio.wav"}
    saved = SavedMedia("image", paths["p1"], PICTURE, ARTIFACT)
    with screen:
        for sequence, payload in enumerate(ANSWER, start=1):
            path = paths.get(payload.part_id) if isinstance(payload, PartStarted) else None
            done = isinstance(payload, PartDone) and payload.part_id == "p1"
            screen.show(Event(sequence, 1.5, payload), path, saved if done else None)
            if isinstance(payload, Done):
                screen.show_summary(payload.generation, 2.04, 1)


def test_a_pipe_gets_the_text_with_escaped_controls_and_the_name_of_each_complete_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    show_answer(PlainScreen(tmp_path), tmp_path)

    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "Here is a penguin\\x1b]0;owned\\x07.",
        f"[image: {tmp_path}/01-image.png]",
    ]
    assert output.err.splitlines() == [
        "motet: p2 failed: the worker is gone (WORKER_LOST)",
        f"motet: {tmp_path}/01-image.png is complete: 7 bytes",
        f"motet: partial in 2.0 s: 1 file in {tmp_path}, 1 failed; the 2 oldest turns did not fit the model",
    ]


def test_the_name_of_a_file_follows_the_text_part_during_which_it_is_complete(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = SavedMedia("image", tmp_path / "01-image.png", PICTURE, ARTIFACT)
    events: list[EventPayload] = [
        PartStarted("p0", 0, "image", "image/png", 0),
        PartStarted("p1", 1, "text", "text/plain", 0),
        PartDelta("p1", 0, "A pen"),
        PartDone("p0", PICTURE.sha256, ARTIFACT),
        PartDelta("p1", 5, "guin."),
        PartDone("p1", b"\x01" * 32),
    ]

    with PlainScreen(tmp_path) as screen:
        for payload in events:
            screen.show(Event(1, 1.5, payload), None, saved if payload is events[3] else None)

    assert capsys.readouterr().out == f"A penguin.\n[image: {saved.path}]\n"


def test_a_terminal_shows_bars_failures_and_file_names(tmp_path: Path) -> None:
    output = io.StringIO()

    show_answer(LiveScreen(tmp_path, Console(file=output, force_terminal=True, width=200)), tmp_path)

    last_frame = output.getvalue().rpartition("Here is a penguin")[2]
    assert str(tmp_path / "01-image.png") in last_frame
    assert "the worker is gone (WORKER_LOST)" in last_frame
    assert "partial in 2.0 s" in last_frame


def test_a_terminal_and_a_pipe_show_what_is_being_loaded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output, release = io.StringIO(), threading.Event()
    LazyWorker(release.wait, decoder_name("audio")).start()

    with LiveScreen(tmp_path, Console(file=output, force_terminal=True, width=200)) as screen:
        screen.show(Event(1, 1.5, PartStarted("p0", 0, "audio", "audio/wav", 0)), None, None)
        screen.show(Event(2, 1.5, PartStarted("p1", 1, "image", "image/png", 0)), None, None)
    with PlainScreen(tmp_path):
        release.set()

    last_frame = output.getvalue().rpartition("audio")[2]
    assert "loading the audio decoder ..." in output.getvalue()
    assert "loading" in last_frame.partition("image")[0]
    assert "waiting" in last_frame.partition("image")[2]
    assert capsys.readouterr().err == "motet: loading the audio decoder\n"


def test_control_characters_of_a_text_do_not_reach_the_terminal(tmp_path: Path) -> None:
    output = io.StringIO()

    show_answer(LiveScreen(tmp_path, Console(file=output, force_terminal=True, width=200)), tmp_path)

    assert "\x1b]0;" not in output.getvalue()
    assert "\x07" not in output.getvalue()


FILM = PlanNode("p2", "film", (PlanInput("image", part_id="p1"), PlanInput("audio", artifact="artifacts/\x1b")))
EDGES: list[EventPayload] = [
    PlanGrown((PlanNode("p1", "image"),), complete=False),
    PartStarted("p1", 0, "image", "image/png", 0),
    PlanGrown((PlanNode("p1", "image"), FILM), complete=False),
    PartStarted("p2", 1, "film", "video/mp4", 0),
    PlanGrown((PlanNode("p1", "image"), FILM), complete=True),
]


def test_every_screen_shows_what_a_part_is_made_from(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = io.StringIO()
    live = LiveScreen(tmp_path, Console(file=output, force_terminal=True, width=200))
    for screen in (live, PlainScreen(tmp_path), JsonScreen()):
        with screen:
            for number, payload in enumerate(EDGES, 1):
                screen.show(Event(number, 1.5, payload), None, None)

    shown = capsys.readouterr()
    assert output.getvalue().rpartition("film")[2].count("from image and audio") == 1
    assert shown.err == "motet: p2: film is made from image and audio\n"
    assert json.loads(shown.out.splitlines()[-1])["nodes"][1] == {
        "part_id": "p2",
        "modality": "film",
        "depends_on": ["p1"],
        "inputs": [{"modality": "image", "part_id": "p1"}, {"modality": "audio", "artifact": "artifacts/\x1b"}],
    }


def lines_of(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> list[dict[str, Any]]:
    show_answer(JsonScreen(), tmp_path)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_lines_are_the_events_without_media_bytes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = lines_of(capsys, tmp_path)

    assert [line["sequence"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]
    assert " ".join(line["event"] for line in lines) == (
        "accepted part_started part_delta part_delta part_done plan part_started "
        "part_progress part_started part_failed part_done usage done"
    )
    assert lines[5]["nodes"] == [{"part_id": "p1", "modality": "image", "depends_on": [], "inputs": []}]


def test_a_json_part_has_a_path_and_a_digest_and_a_failure_has_a_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    by_event = {line["event"]: line for line in lines_of(capsys, tmp_path)}

    assert by_event["part_done"]["path"] == str(tmp_path / "01-image.png")
    assert by_event["part_done"]["sha256"] == PICTURE.sha256.hex()
    # The file may never be complete.
    assert "path" not in by_event["part_started"]
    assert by_event["part_failed"]["reason"] == "WORKER_LOST"
    done = by_event["done"]
    assert (done["state"], done["exit_code"], done["files"], done["elapsed"]) == ("PARTIAL", 3, 1, 2.04)
