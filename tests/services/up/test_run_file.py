"""The file with the addresses of a running `motet up`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.ready_line import ReadyLine
from services.up.run_file import run_file, running_deployments
from tests.services.command import CLEAN

SERVICES = {"orchestrator": ReadyLine("orchestrator", "127.0.0.1:50050", "127.0.0.1:9464")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the files, which does not exist yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "motet"


def test_a_deployment_is_found_while_it_runs(folder: Path) -> None:
    with run_file("127.0.0.1:50050", SERVICES):
        (deployment,) = running_deployments()
        assert (deployment.port, deployment.services) == (50050, SERVICES)

    assert running_deployments() == []
    assert list(folder.iterdir()) == []


def test_only_the_user_can_read_the_file(folder: Path) -> None:
    with run_file("127.0.0.1:50050", SERVICES):
        (path,) = folder.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_several_deployments_are_found_by_their_ports(folder: Path) -> None:
    with run_file("127.0.0.1:50060", SERVICES), run_file("127.0.0.1:50050", SERVICES):
        assert [deployment.port for deployment in running_deployments()] == [50050, 50060]


def test_the_file_of_a_killed_process_is_not_used_and_is_removed(folder: Path) -> None:
    program = (
        "import os, signal\n"
        "from services.up.run_file import run_file\n"
        "with run_file('127.0.0.1:1', {}):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program], env=CLEAN | {"XDG_RUNTIME_DIR": str(folder.parent)}, check=False)
    assert len(list(folder.iterdir())) == 1

    assert running_deployments() == []
    assert list(folder.iterdir()) == []


def test_a_new_deployment_removes_the_files_of_killed_processes(folder: Path) -> None:
    folder.mkdir()
    (folder / "up-x.json").write_text("{}")

    with run_file("127.0.0.1:50050", SERVICES):
        assert len(list(folder.iterdir())) == 1


def test_a_file_of_another_form_is_ignored(folder: Path) -> None:
    with run_file("127.0.0.1:50050", SERVICES):
        (path,) = folder.iterdir()
        for content in ("", "[]", "{", json.dumps({"address": 5, "services": []}), json.dumps({"address": "x"})):
            path.write_text(content)
            assert running_deployments() == []


def test_the_state_folder_of_the_user_serves_without_a_runtime_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    for name, value in (("XDG_STATE_HOME", str(tmp_path / "state")), ("XDG_STATE_HOME", "")):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        with run_file("127.0.0.1:50050", SERVICES):
            assert len(running_deployments()) == 1

    assert (tmp_path / "state" / "motet").is_dir()
    assert (tmp_path / ".local" / "state" / "motet").is_dir()


def test_a_deployment_runs_if_no_file_can_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.write_text("a file, not a folder")

    with run_file("127.0.0.1:50050", SERVICES):
        assert running_deployments() == []

    assert "motet top needs the addresses of the metrics" in capsys.readouterr().err
    assert os.path.isfile(folder)
