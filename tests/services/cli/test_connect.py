"""The target of a command: this process, or a server."""

from __future__ import annotations

from typing import Any

import pytest

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
