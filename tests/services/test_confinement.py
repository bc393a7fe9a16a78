"""The report of the confinement of media at the start of a service."""

from __future__ import annotations

import json
import os
import sys
from urllib.request import urlopen

import pytest

from motet.core.telemetry.families import media_metrics
from motet.media.confinement import linux
from services.confinement import report_confinement
from services.ready_line import ReadyLine
from services.settings import ServiceSettings
from tests.services.command import TIMEOUT, motet, started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers need Linux")

SERVE = ("serve", "encoder", "--toy", "--listen", "127.0.0.1:0")
MESSAGE = "media are decoded in a confined child"


def test_a_service_that_decodes_media_logs_and_counts_its_layers_and_forbids_dumps() -> None:
    with started(*SERVE, "--require-confinement") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = ReadyLine.read(process.stdout.readline())
        assert ready is not None
        with urlopen(f"http://{ready.metrics}/metrics", timeout=TIMEOUT) as answer:
            counted = answer.read().decode()
        memory_owner = os.stat(f"/proc/{process.pid}/mem").st_uid
        process.terminate()
        line = next(line for line in map(json.loads, process.stderr) if line["event"] == MESSAGE)

    assert line["level"] == "info"
    assert {"landlock", "limits", "nondumpable", "privileges", "seccomp"} <= set(line["on"])
    assert set(line["off"]) <= {"user"}
    for layer in line["on"]:
        assert f'motet_media_confinement{{layer="{layer}"}} 1.0' in counted
    # The process collector reads /proc of the process, which works without dumps.
    assert "process_open_fds" in counted
    # The kernel gives the files of a nondumpable process to root.
    assert memory_owner == 0


def test_a_service_does_not_start_without_a_required_layer() -> None:
    result = motet(*SERVE, "--require-confinement", "--allow-debuggers")

    assert result.returncode == 2
    assert "MOTET_REQUIRE_CONFINEMENT is set, but a layer is off (nondumpable: " in result.stderr


def test_a_layer_that_is_off_counts_zero_and_stops_no_service_without_the_setting() -> None:
    # An earlier test may have started a service in this process, which forbids dumps.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)

    report_confinement(ServiceSettings())

    assert media_metrics.MEDIA_CONFINEMENT.labels("nondumpable")._value.get() == 0


@pytest.mark.parametrize(
    ("kind", "decodes_media"),
    [("llm", False), ("decoder --modality image", False), ("decoder --modality mix", True), ("orchestrator", True)],
)
def test_exactly_the_services_that_decode_media_report_the_layers(kind: str, decodes_media: bool) -> None:
    with started("serve", *kind.split(), "--toy", "--listen", "127.0.0.1:0", log_level="info") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("motet: ")
        process.terminate()
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (MESSAGE in errors) == decodes_media
