"""The level of a running service's log lines changes with its file."""

from __future__ import annotations

import json
from pathlib import Path

from motet.client import Client
from services.ready_line import ReadyLine
from tests.services.command import started


async def test_a_running_service_writes_debug_lines_as_soon_as_its_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "levels"
    path.write_text("error")
    with started(
        "serve", "orchestrator", "--toy", "--listen", "127.0.0.1:0", log_level_file=str(path), log_level="info"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = ReadyLine.read(process.stdout.readline())
        assert ready is not None
        async with Client(ready.address) as client:
            await client.models()
            path.write_text("error motet.audit=info motet.core.logs=info")
            # The audit line is written after the change, so a line of the earlier call would come first.
            assert json.loads(process.stderr.readline())["event"] == "a changed file is in use"
            await client.models()
            line = json.loads(process.stderr.readline())

    assert (line["event"], line["method"]) == ("a call ended", "/motet.v1.ModelService/ListModels")
