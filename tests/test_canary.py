"""The canary finds secrets in log lines and metrics, and nothing else."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter

from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.transport.access.api_key import create_key
from tests.canary import Canary, watch
from tests.services.command import CLEAN
from tests.transport.access.provider import Provider

PROMPT = 'a penguin "on" the moon,\nsaid Zoë'
DATA = bytes(range(50, 100))
LOGGER = logging.getLogger("canary-of-this-test")


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    """Yield a canary that sees only this test's logger."""
    canary = Canary()
    watch(monkeypatch, canary)
    monkeypatch.setattr(LOGGER, "propagate", False)
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.addHandler(canary)
    GenerationRequest((Message("user", (PROMPT, Media("x/a", DATA))),), tenant="velvet-tenant")
    yield canary
    LOGGER.removeHandler(canary)


@pytest.mark.parametrize(
    "leak",
    [
        PROMPT,
        f"the prompt is {PROMPT!r}",
        json.dumps({"prompt": PROMPT}),
        repr(DATA),
        base64.b64encode(DATA).decode(),
        DATA.hex(),
        create_key(),
        f"Bearer {Provider().token()}",
        "-----BEGIN EC PRIVATE KEY-----",
        "velvet-tenant",
    ],
    ids=["text", "repr", "JSON", "bytes", "base64", "hex", "key", "token", "private key", "tenant"],
)
@pytest.mark.parametrize("place", ["message", "argument", "field", "list", "exception"])
def test_a_secret_on_a_line_is_a_fault(canary: Canary, leak: str, place: str) -> None:
    match place:
        case "message":
            LOGGER.warning(leak)
        case "argument":
            LOGGER.debug("%s", leak)
        case "field":
            LOGGER.info("a call ended", extra={"value": leak})
        case "list":
            LOGGER.info("a call ended", extra={"parts": [{"value": leak}]})
        case _:
            LOGGER.error("a call failed", exc_info=ValueError(leak))

    (fault, *_) = canary.faults()
    assert "is in a log line" in fault


def test_the_lines_of_another_process_are_searched_and_its_other_output_is_not(canary: Canary) -> None:
    canary.see(f"{PROMPT}\nYou said: {PROMPT}\n")
    assert canary.faults() == []

    canary.see(json.dumps({"event": "a call ended", "prompt": PROMPT}))
    assert len(canary.faults()) == 1


def test_ordinary_lines_are_no_fault(canary: Canary) -> None:
    GenerationRequest((Message("user", ("hello", "aaaaaaaaaaaaaaaaaaaa", Media("x/a", bytes(100)))),), tenant="a")
    LOGGER.info("hello", extra={"modality": "a", "request_id": secrets.token_hex(16), "bytes": bytes(100)})
    LOGGER.info("aaaaaaaaaaaaaaaaaaaa motet_000000000000_%s", "0" * 49)
    LOGGER.info("the velvet-tenants")

    assert canary.faults() == []


def test_a_secret_in_a_label_of_a_metric_is_a_fault(canary: Canary) -> None:
    canary.end()
    assert canary.faults_of_metrics() == []

    counter = Counter("canary_leaks", "Leaks of this test.", ["value"])
    try:
        for value in ("velvet-tenant", f"{PROMPT}.", create_key()):
            counter.labels(value).inc()
        assert len(canary.faults_of_metrics()) == 3
    finally:
        REGISTRY.unregister(counter)


def test_a_test_whose_lines_or_spans_have_a_prompt_fails_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(
        "import asyncio, json, logging, subprocess, sys\n"
        "from motet.core.request import Message\n"
        "from motet.core.tracing.span import start_span\n"
        "from services.settings import settings_of\n"
        "from services.tracing.settings import TracingSettings\n"
        "from services.tracing.tracing import traced\n"
        "from tests.services.tracing.collector import collecting\n"
        "PROMPT = 'a penguin on the moon'\n"
        "def test_leak():\n"
        "    message = Message('user', (PROMPT,))\n"
        "    logging.getLogger('motet.x').debug('began: %s', message.parts[0])\n"
        "def test_other():\n"
        "    logging.getLogger('motet.x').debug(PROMPT)\n"
        "def test_leak_of_a_child():\n"
        "    message = Message('user', ('another penguin on Mars',))\n"
        "    line = json.dumps({'event': 'began', 'prompt': message.parts[0]})\n"
        "    program = 'import sys; print(sys.argv[1], file=sys.stderr)'\n"
        "    subprocess.run([sys.executable, '-c', program, line], check=True)\n"
        "def test_leak_of_a_span():\n"
        "    message = Message('user', ('a third penguin on Venus',))\n"
        "    async def leak(endpoint):\n"
        "        async with traced(settings_of(TracingSettings, {'tracing_endpoint': endpoint}), 'test'):\n"
        "            start_span('work', attributes={'prompt': message.parts[0]}).end()\n"
        "    with collecting() as collector:\n"
        "        asyncio.run(leak(collector.endpoint))\n"
        "    assert collector.named('work')\n"
    )

    result = run_pytest(tmp_path)

    assert "'a penguin on the moon' is in a log line" in result.stdout, result.stdout + result.stderr
    assert "'another penguin on Mars' is in a log line" in result.stdout
    assert "'a third penguin on Venus' is in a log line or a span" in result.stdout
    for name in ("test_leak", "test_leak_of_a_child", "test_leak_of_a_span"):
        assert f" ERROR at teardown of {name} " in result.stdout
    assert "4 passed, 3 errors" in result.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two processes"])
def test_a_session_whose_metrics_have_a_secret_fails(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "test_example.py").write_text(
        "from prometheus_client import Counter\n"
        "from motet.core.caller import Caller\n"
        "def test_leak():\n"
        "    caller = Caller('velvet-tenant', frozenset())\n"
        "    Counter('leaks', 'Leaks.', ['value']).labels(caller.tenant).inc()\n"
    )

    result = run_pytest(tmp_path, *options)

    assert "'velvet-tenant' is in a label of a metric" in result.stdout, result.stdout + result.stderr
    assert "1 passed" in result.stdout
    assert result.returncode == pytest.ExitCode.TESTS_FAILED


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder with the canary."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.canary", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(
        [*command, "--rootdir", str(folder), *options],
        capture_output=True,
        text=True,
        env=CLEAN | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
