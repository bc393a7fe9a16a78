"""The command line against a server that tries to control the user's terminal or breaks the contract."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from motet.core import events as ev
from motet.core.errors import FaultError, RequestError
from services.exit_codes import Exit
from tests.client.test_event_checker import BROKEN
from tests.scripted_motet import MODEL, ScriptedMotet, done, serving, text_part
from tests.services.command import motet

EVIL = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\b\b\rmotet: forged"
CONTROLS = set("\x1b\x07\x9b\u202e\b\r")


async def command(scripted: ScriptedMotet, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command with the server of a script."""
    async with serving(scripted) as server:
        return await asyncio.to_thread(motet, *arguments, "--server", server.address)


def expect_harmless(result: subprocess.CompletedProcess[str]) -> None:
    assert not CONTROLS & set(result.stdout + result.stderr)
    assert "Traceback" not in result.stderr


async def test_no_text_of_a_server_controls_the_terminal(tmp_path: Path) -> None:
    failed = ev.PartFailed("part-1", FaultError(EVIL))
    scripted = ScriptedMotet(
        *text_part(0, EVIL),
        ev.PlanGrown((ev.PlanNode("part-1", EVIL, (ev.PlanInput(EVIL, artifact=EVIL),)),), complete=False),
        ev.PartStarted("part-1", 1, EVIL, EVIL, len(EVIL)),
        failed,
        done(ev.State.PARTIAL),
    )

    result = await command(scripted, "run", "hello", "--out", tmp_path)

    expect_harmless(result)
    assert "\\x1b]0;owned\\x07" in result.stdout
    assert "part-1: \\x1b]0;owned" in result.stderr
    assert "part-1 failed: \\x1b]0;owned" in result.stderr
    assert result.returncode == Exit.PARTIAL


async def test_no_error_of_a_server_controls_the_terminal(tmp_path: Path) -> None:
    scripted = ScriptedMotet()
    scripted.script = [RequestError(EVIL)]

    result = await command(scripted, "run", "hello", "--out", tmp_path)

    expect_harmless(result)
    assert len(result.stderr.splitlines()) == 1
    assert result.returncode == Exit.REFUSED


async def test_no_name_of_a_model_controls_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedMotet()
    hostile = replace(MODEL, name=EVIL, description=EVIL, licence=EVIL, input_modalities=(EVIL,))
    monkeypatch.setattr(scripted, "models", lambda: asyncio.sleep(0, [hostile]))

    expect_harmless(await command(scripted, "models"))


@pytest.mark.parametrize("option", [(), ("--image",)])
def test_no_name_of_a_file_controls_the_terminal(option: tuple[str, ...], tmp_path: Path) -> None:
    result = motet("run", "hello", "--toy", "--out", tmp_path, *option, tmp_path / "\x1b[31m\u202egnp.exe")

    expect_harmless(result)
    assert result.returncode == Exit.REFUSED


@pytest.mark.parametrize("broken", ["bytes as text", "the end of an unknown part", "accepted twice"])
async def test_a_server_that_breaks_the_grammar_of_events_ends_the_command_in_one_line(
    broken: str, tmp_path: Path
) -> None:
    scripted = ScriptedMotet()
    scripted.script = [*BROKEN[broken]]

    result = await command(scripted, "run", "hello", "--out", tmp_path)

    expect_harmless(result)
    assert result.stderr.count("\n") == 1
    assert "(EVENTS_INVALID)" in result.stderr
    assert result.returncode == Exit.FAILED
