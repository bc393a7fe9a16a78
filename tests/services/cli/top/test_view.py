"""The tables for people: hostile text, narrow terminals, colors, and the picture."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from motet.core.errors import RequestError
from services.cli.top.picture import check_svg, draw_snapshot
from services.cli.top.rows.process import ObservedProcess
from services.cli.top.snapshot import Snapshot
from services.cli.top.view import print_page
from tests.services.cli.top.expositions import DECODER, ORCHESTRATOR, changed
from tests.services.cli.top.test_rows import GPU, observed

AFTER = changed(ORCHESTRATOR, motet_llm_tokens_total__output=350.0)
PROCESSES = [
    observed(AFTER, ORCHESTRATOR, "orchestrator"),
    observed(DECODER + GPU, name="image decoder"),
    ObservedProcess("image decoder 2", "127.0.0.1:9466", "no answer within 2 s"),
]
HOSTILE = "\x1b]0;owned\x07\x9b2J\r\n\u202eevil"


def shown(snapshot: Snapshot, width: int = 140, **options: object) -> str:
    """Return the page of a snapshot on a terminal."""
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)  # type: ignore[arg-type]
    print_page(snapshot, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def row(page: str, name: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(name))


def test_the_page_has_a_table_of_each_kind() -> None:
    page = shown(Snapshot.of(0.0, PROCESSES))

    assert "2 of 3 processes answer" in page
    assert "tokens/s: 25.0 out, 0 in" in page
    assert row(page, "text").split()[1:3] == ["25.0", "tokens/s"]
    assert row(page, "image ").split()[1] == "0/s"
    pool = next(line for line in page.splitlines() if line.startswith("image") and "ejected" in line)
    assert pool.split() == ["image", "1/2", "0", "ready,", "1", "ejected", "4", "1.5", "s", "8", "8", "6.5", "s"]
    assert row(page, "orchestrator").split() == [
        "orchestrator",
        "serving",
        "2",
        "-",
        "-",
        "0",
        "100",
        "MiB",
        "orchestrator",
    ]
    assert "unreachable" in row(page, "image decoder 2 ")
    assert row(page, "image decoder 2:") == "image decoder 2: no answer within 2 s"
    assert row(page, "GPU-1").split()[:4] == ["GPU-1", "H200", "decoder", "50%"]


def test_text_of_an_endpoint_cannot_control_the_terminal() -> None:
    hostile = HOSTILE.replace("\r\n", "")
    text = "".join(
        f"# TYPE {name} gauge\n{name}{{{labels}}} 1.0\n"
        for name, labels in (
            ("motet_build_info", f'component="{hostile}"'),
            ("motet_pool_replicas", f'pool="{hostile}",state="{hostile}"'),
            ("motet_pool_replica_info", f'pool="{hostile}",replica="{hostile}",address="{hostile}"'),
            ("motet_decoder_jobs", f'modality="{hostile}",state="running"'),
            ("motet_gpu_info", f'gpu_uuid="{hostile}",name="{hostile}",component="{hostile}"'),
            ("motet_gpu_throttled", f'gpu_uuid="{hostile}",reason="{hostile}"'),
        )
    )

    page = shown(Snapshot.of(0.0, [observed(text, name=HOSTILE), ObservedProcess("x", HOSTILE, HOSTILE)]), width=400)

    assert "\\x1b]0;owned" in page
    assert not set("\x1b\x07\x9b\r\u202e") & set(page)
    assert [line for line in page.splitlines() if line.strip().startswith("evil")] == []


def test_text_of_an_endpoint_is_no_markup() -> None:
    assert "[red]x[/red]" in shown(Snapshot.of(0.0, [ObservedProcess("[red]x[/red]", "", "away")]))


def test_long_text_and_many_rows_are_cut() -> None:
    processes = [ObservedProcess("x" * 500, str(number), "away") for number in range(150)]

    lines = shown(Snapshot.of(0.0, processes), width=400).splitlines()

    assert max(map(len, lines)) <= 300
    assert len(lines) < 120
    assert "50 more: --json has all" in lines


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_narrow_terminal_has_fewer_columns_and_no_wrapped_rows(width: int) -> None:
    snapshot = Snapshot.of(0.0, PROCESSES)
    page = shown(snapshot, width)

    lines = page.splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("image dec") for line in lines) == 3
    assert ("queued work" in page) == (width >= 100)


def test_colors_are_left_out_if_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = Snapshot.of(0.0, PROCESSES)
    terminal = {"force_terminal": True, "color_system": "standard"}
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32m" in shown(snapshot, **terminal)

    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in shown(snapshot, **terminal)


def test_the_picture_has_the_tables_and_no_font_of_another_server(tmp_path: Path) -> None:
    file = tmp_path / "new" / "top.svg"

    draw_snapshot(Snapshot.of(0.0, PROCESSES), file)

    picture = file.read_text()
    assert picture.startswith("<svg ")
    assert "image&#160;decoder&#160;2" in picture
    assert "http" not in picture.replace("http://www.w3.org", "").replace("https://www.textualize.io", "")


def test_an_idle_deployment_has_a_page_without_figures() -> None:
    page = shown(replace(Snapshot.of(0.0, []), processes=[]))

    assert page.splitlines()[0].endswith("0 of 0 processes answer")


@pytest.mark.parametrize("name", ["top", "top.png", "top.SVG"])
def test_a_picture_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=r"let its name end with \.svg"):
        check_svg(tmp_path / name)
