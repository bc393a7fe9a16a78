"""The minimum levels of log lines come from a file, and change while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.service_metrics import ServiceMetrics
from services.logs.levels import LogLevelFile, LogLevels

NAMES = ("", "levels.pool", "levels.other")


@pytest.fixture(autouse=True)
def _levels_before() -> Iterator[None]:
    before = [logging.getLogger(name).level for name in NAMES]
    yield
    for name, level in zip(NAMES, before, strict=True):
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("debug", LogLevels("debug")),
        (" info\n", LogLevels("info")),
        ("a.b=debug\nwarning grpc=error", LogLevels("warning", {"a.b": "debug", "grpc": "error"})),
    ],
)
def test_levels_are_words_in_any_order(text: str, expected: LogLevels) -> None:
    assert LogLevels.parse(text, "levels") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "levels has no level for all lines; add one of debug, info, warning, error"),
        ("a=debug", "levels has no level for all lines"),
        ("DEBUG", "levels: 'DEBUG' is not a level; use one of debug, info, warning, error"),
        ("info a=", "levels: 'a=' is not a level"),
        ("info =debug", "levels: '=debug' names no logger; write LOGGER=debug"),
        ("info debug", "levels has two levels for all lines; leave one of them"),
    ],
)
def test_another_text_is_an_error_that_says_what_to_change(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message.replace('?', '.')}"):
        LogLevels.parse(text, "levels")


async def test_a_change_of_the_file_is_used_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "levels"
    path.write_text("warning levels.pool=debug")
    root, pool, other = map(logging.getLogger, NAMES)
    file = LogLevelFile(path)
    assert (root.level, pool.getEffectiveLevel(), other.getEffectiveLevel()) == (30, 10, 30)

    path.write_text("error levels.other=info")
    await file.refresh()
    assert (root.level, pool.getEffectiveLevel(), other.getEffectiveLevel()) == (40, 40, 20)

    path.write_text("loud")
    await file.refresh()
    assert (root.level, pool.getEffectiveLevel(), other.getEffectiveLevel()) == (40, 40, 20)


def test_a_file_that_is_wrong_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "levels").write_bytes(b"\xff\x00")

    with pytest.raises(SettingsError, match="levels: .* is not a level"):
        LogLevelFile(tmp_path / "levels")
    with pytest.raises(SettingsError, match="cannot be read"):
        LogLevelFile(tmp_path / "none")


@pytest.mark.parametrize("kind", ServiceKind)
def test_every_service_exports_how_many_files_of_levels_were_refused(tmp_path: Path, kind: ServiceKind) -> None:
    (tmp_path / "levels").write_text("info")
    LogLevelFile(tmp_path / "levels")

    samples = [sample for metric in ServiceMetrics(kind).collect() for sample in metric.samples]
    refused = {"file": "log_levels", "result": "refused"}
    assert [sample.name for sample in samples if sample.labels == refused] == ["motet_access_reloads_total"]
