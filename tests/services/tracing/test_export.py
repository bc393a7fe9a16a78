"""The export of spans: it is off by default, bounded, and never holds up a request."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from motet.core.errors import SettingsError
from motet.core.telemetry.families.process_metrics import SPANS
from motet.core.tracing.span import NO_SPAN, spanning, start_span
from services.settings import settings_of
from services.tracing.settings import TracingSettings
from services.tracing.span_queue import SpanQueue
from services.tracing.tracing import traced
from services.up.certificate_authority import CertificateAuthority
from tests.services.command import CLEAN, eventually
from tests.services.tracing.collector import collecting

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys, services.tracing.tracing, motet.client
print(*[name for name in sys.modules if name.startswith("opentelemetry")])
"""


def count(outcome: str) -> float:
    return SPANS.labels(outcome)._value.get()


def settings_for(endpoint: str, **others: Any) -> TracingSettings:
    return settings_of(TracingSettings, {"tracing_endpoint": endpoint, **others})


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=CLEAN, check=True)

    assert done.stdout.split() == []
    files = [path for folder in ("motet", "orchestrator", "services") for path in (ROOT / folder).rglob("*.py")]
    named = {path.name for path in files if re.search("^ *(from|import) opentelemetry", path.read_text(), re.MULTILINE)}
    assert named == {"tracer.py", "span_queue.py"}


async def test_without_an_endpoint_no_span_is_recorded() -> None:
    async with traced(settings_of(TracingSettings, {}), "test"):
        with spanning("work") as span:
            assert span is NO_SPAN


async def test_exported_spans_are_counted() -> None:
    before = count("exported")
    with collecting() as collector:
        async with traced(settings_for(collector.endpoint), "test"):
            for _ in range(3):
                start_span("work").end()

    assert len(collector.named("work")) == count("exported") - before == 3


async def test_a_collector_that_does_not_answer_delays_the_end_by_two_seconds_at_most() -> None:
    with collecting(answering=False) as collector:
        async with traced(settings_for(collector.endpoint), "test"):
            begun = time.monotonic()
            for _ in range(100):
                start_span("work").end()
            recorded = time.monotonic()
        ended = time.monotonic()
        collector.answering.set()

    assert recorded - begun < 1
    assert ended - recorded < 10  # 2 s, on a machine that is busy


async def test_spans_beyond_the_queue_are_dropped_and_counted() -> None:
    before = count("dropped")
    with collecting(answering=False) as collector:
        exporter = BlockedExporter(collector)
        spans = SpanQueue(exporter, max_waiting=10, interval=0.0)  # type: ignore[arg-type]
        for _ in range(1 + 512 + 10 + 7):
            spans.on_end(ReadableSpan("work"))
            if not exporter.called:
                assert eventually(lambda: exporter.called)
        collector.answering.set()
        spans.close(5.0)

    assert count("dropped") - before == 1 + 512 + 10 + 7 - 1 - 10


class BlockedExporter:
    """An exporter that waits in its first export."""

    def __init__(self, collector: Any) -> None:
        self.called = False
        self._collector = collector

    def export(self, batch: Any) -> Any:
        self.called = True
        self._collector.answering.wait(30)

    def shutdown(self) -> None:
        """Do nothing."""


def test_the_end_of_the_queue_ends_an_export_that_waits_for_its_next_attempt() -> None:
    exporter = RetryingExporter()
    spans = SpanQueue(exporter, interval=0.0)  # type: ignore[arg-type]
    spans.on_end(ReadableSpan("work"))
    assert exporter.called.wait(30)

    spans.close(0.05)

    assert eventually(lambda: not spans._thread.is_alive())


class RetryingExporter:
    """An exporter that waits for its next attempt until it is shut down."""

    def __init__(self) -> None:
        self.called, self._ended = threading.Event(), threading.Event()

    def export(self, batch: Any) -> Any:
        self.called.set()
        self._ended.wait(300)

    def shutdown(self) -> None:
        self._ended.set()


async def test_the_connection_to_a_collector_may_be_encrypted_and_have_headers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = CertificateAuthority(tmp_path)
    pair = authority.issue("collector")
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
    (tmp_path / "headers").write_text("Authorization: Bearer abc\n\nx-team: motet\n")
    with collecting(credentials) as collector:
        files = {"tracing_ca": authority.certificate, "tracing_headers": tmp_path / "headers"}
        async with traced(settings_for(collector.endpoint, **files), "test"):
            start_span("work").end()

    assert collector.named("work")
    assert {"authorization": "Bearer abc", "x-team": "motet"}.items() <= collector.headers[0].items()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tracing_endpoint": "http://collector:4317"}, "without encryption"),
        ({"tracing_endpoint": "http://10.0.0.1:4317"}, "--allow-insecure-tracing"),
        ({"tracing_endpoint": "collector:4317"}, "https://HOST:PORT"),
        ({"tracing_endpoint": "https://collector"}, "https://HOST:PORT"),
        ({"tracing_endpoint": "https://user:secret@collector:4317"}, "https://HOST:PORT"),
        ({"tracing_endpoint": "https://collector:4317/v1/traces"}, "https://HOST:PORT"),
        ({"tracing_endpoint": "http://localhost:4317", "tracing_ca": "ca.pem"}, "has no effect"),
        ({"tracing_ca": "ca.pem"}, "needs --tracing-endpoint"),
        ({"tracing_headers": "headers"}, "needs --tracing-endpoint"),
        ({"tracing_ratio": 1.1}, "tracing_ratio"),
        ({"tracing_ratio": float("nan")}, "tracing_ratio"),
    ],
)
def test_settings_that_cannot_work_or_are_not_safe_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refusal:
        settings_of(TracingSettings, settings)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("line", ["no colon at all", "grpc-timeout: 1", "data-bin: AA==", "name: caf\u00e9", ": value"])
async def test_a_line_that_is_no_header_is_refused_by_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "headers").write_text(f"a: b\n{line}\n")

    with pytest.raises(SettingsError, match="line 2") as refusal:
        settings_for("https://localhost:1", tracing_headers=tmp_path / "headers").headers()

    assert line not in str(refusal.value)


def test_plain_text_to_another_machine_needs_a_permission() -> None:
    assert not settings_for("http://collector:4317", allow_insecure_tracing=True).encrypted
