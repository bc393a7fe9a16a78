"""The target of a command: this process, or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from motet.core.errors import SettingsError
from services.cli.connect import target_of

NOTHING: dict[str, Any] = {"bundle": None, "threads": None, "toy": None, "toy_delay": None, "device": None}


@pytest.mark.parametrize(
    ("server", "typed", "expected"),
    [
        (None, {}, "environment:1"),
        ("option:1", {}, "option:1"),
        (None, {"toy": True}, None),
        (None, {"bundle": "nano"}, None),
    ],
)
def test_the_environment_names_the_server_unless_an_option_decides(
    server: str | None, typed: dict[str, Any], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_SERVER", "environment:1")

    assert target_of(server, NOTHING | typed).server == expected


@pytest.mark.parametrize("value", [None, ""])
def test_a_command_without_a_server_runs_in_this_process(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOTET_SERVER", raising=False)
    if value is not None:
        monkeypatch.setenv("MOTET_SERVER", value)

    assert target_of(None, NOTHING).server is None


def test_options_of_a_connection_without_a_server_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOTET_SERVER", raising=False)

    with pytest.raises(SettingsError, match="--tls-ca has no effect without --server: add the address"):
        target_of(None, NOTHING | {"tls_ca": "ca.pem"})


def test_the_environment_may_have_connection_settings_that_no_server_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOTET_SERVER", raising=False)
    monkeypatch.setenv("MOTET_TLS_CA", "ca.pem")

    assert target_of(None, NOTHING).server is None


def test_a_key_file_holds_one_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "key"
    file.write_text("motet-key\n")
    file.chmod(0o600)
    connection = target_of("a:1", NOTHING | {"key_file": file}).connection

    assert connection.api_key() == "motet-key"
    assert capsys.readouterr().err == ""
    file.chmod(0o644)
    connection.api_key()
    assert "every user of this machine can read the key" in capsys.readouterr().err
    file.write_text("\n")
    with pytest.raises(SettingsError, match="is empty: write the API key into it"):
        connection.api_key()
    file.unlink()
    with pytest.raises(SettingsError, match="is not a file with an API key that you can read"):
        connection.api_key()
