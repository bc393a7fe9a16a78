"""Tests of values that are read again while the process runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from motet.core.errors import SettingsError
from motet.core.files.reloaded_file import ReloadedFile
from tests.waiting import until

INTERVAL = 0.01


def parse(data: bytes) -> int:
    """Return a number. An unexpected error is that of a bug."""
    if data == b"bug":
        raise ZeroDivisionError
    try:
        return int(data)
    except ValueError:
        raise SettingsError(f"{data.decode()!r} is no number") from None


def file_of(path: Path) -> ReloadedFile[int]:
    path.write_text("1")
    return ReloadedFile(path, parse, "quotas", INTERVAL)


async def test_a_changed_file_is_used_and_one_with_equal_contents_is_not_parsed_again(tmp_path: Path) -> None:
    path, parsed = tmp_path / "file", []
    path.write_text("1")
    async with ReloadedFile(path, lambda data: parsed.append(data) or parse(data), "quotas", INTERVAL) as file:
        path.write_text("1")
        await asyncio.sleep(5 * INTERVAL)
        path.write_text("2")
        await until(lambda: file.current == 2)

    assert parsed == [b"1", b"2"]


async def test_each_new_error_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    async with file_of(path) as file:
        for text in ("a", "b", "a"):
            count = len(caplog.records)
            path.write_text(text)
            await until(lambda count=count: len(caplog.records) > count)
            await asyncio.sleep(5 * INTERVAL)
            assert len(caplog.records) == count + 1
        assert file.current == 1


async def test_an_unexpected_error_is_logged_and_the_next_change_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    with caplog.at_level(logging.ERROR):
        async with file_of(path) as file:
            path.write_text("bug")
            await until(lambda: any(record.exc_info for record in caplog.records))
            assert file.current == 1
            path.write_text("3")
            await until(lambda: file.current == 3)


async def test_reads_at_the_same_time_are_one_read_and_a_caller_that_leaves_does_not_end_it(tmp_path: Path) -> None:
    file, started, go = file_of(tmp_path / "file"), threading.Event(), threading.Event()
    reads = 0
    read = file._read

    def slow() -> bytes:
        nonlocal reads
        reads += 1
        started.set()
        go.wait(30)
        return read()

    file._read = slow  # type: ignore[method-assign]
    (tmp_path / "file").write_text("2")
    waiting = [asyncio.create_task(file.refresh()) for _ in range(5)]
    await until(started.is_set)
    assert file.refreshing
    waiting[0].cancel()
    go.set()
    await asyncio.gather(*waiting[1:])

    assert (reads, file.current) == (1, 2)


def test_refused_files_are_counted_from_zero_so_that_prometheus_sees_the_first_increase(tmp_path: Path) -> None:
    path = tmp_path / "never refused"
    path.write_text("a")
    ReloadedFile(path, bytes.decode, "never refused")

    assert REGISTRY.get_sample_value("motet_access_reloads_total", {"file": "never refused", "result": "refused"}) == 0
