"""A pytest plugin that fails a test if a secret is in a log line, a span or the metrics.

It sees each log record of the test process as the product writes it, the log lines of child processes, each span that
a collector of the tests receives, and at the end of the session the labels of all metrics. The lines of a child process
are those on the standard error of the test process, and those that `tests.services.command` reads from a pipe.

Two rules decide what a secret is:

- Keys, tokens and private keys have a form, and are found by it.
- Prompts, media, and texts and captions of models are those that the test creates. A text needs 16 characters of 8
  kinds, so that no word of a log line is one. Media are compared by 16 bytes from their middle.

Tenants' names may be no whole value of a line or a label, and nowhere in a line if they cannot be a word of it.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import wraps
from typing import Any

import pytest
from prometheus_client import REGISTRY

from motet.core.caller import Caller
from motet.core.events import PartDelta, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.transport.access.api_key import key_id_of
from services.logs.lines import JsonLines

_FORMS = re.compile(
    r"motet_[a-z0-9]{12}_[A-Za-z0-9]{49}|eyJ[\w-]+\.[\w-]+\.[\w-]{20,}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""The forms of an API key, a signed token and a private key."""

_LOGGERS = "motet", "orchestrator", "services"
"""The loggers whose lines of every level are checked. Others have the level of the test."""

_PLAIN = re.compile(r"[A-Za-z0-9 ,.;:!?()-]{16,}")
"""A part of a text that is the same in JSON and in Python's notation."""

_MIN_LENGTH, _MAX_LENGTH = 16, 200
"""Minimum length of a text that is a secret, and the number of its characters that are compared."""

_MIN_CHARACTERS = 8
"""Minimum number of different characters of a text, and of different bytes of media."""

_MIN_TENANT_LENGTH = 6
"""Minimum length of a tenant's name that is searched. Shorter names are modalities and the like in other tests."""

_MAX_SECRETS = 5000
"""Maximum number of secrets of one test."""

_MAX_SECRETS_OF_ALL = 50_000
"""Number of secrets of all tests from which on no more are searched in the metrics."""

_BATCH = 32
"""Number of log lines that are kept until they are searched."""


class Canary(logging.Handler):
    """The secrets of the running test, and the text that must not contain them."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._formatter = JsonLines()
        self.secrets: dict[str | bytes, None] = {}
        self.tenants: set[str] = set()
        self._secrets_of_all: set[str | bytes] = set()
        self._tenants_of_all: set[str] = set()
        self._lines: list[str] = []
        self._faults: dict[str, None] = {}
        self._last: logging.LogRecord | None = None

    def add_text(self, text: str) -> None:
        """Add a text of a prompt or a model, unless it is as short or simple as a word of a log line."""
        if len(text) >= _MIN_LENGTH and len(self.secrets) < _MAX_SECRETS:
            text = text[:_MAX_LENGTH]
            # A part that no program escapes is enough.
            text = max(_PLAIN.findall(text), key=len, default=text)
            if len(set(text)) >= _MIN_CHARACTERS:
                self.secrets[text] = None

    def add_bytes(self, data: bytes) -> None:
        """Add media, unless they are as short or simple as a constant."""
        if len(data) >= _MIN_LENGTH and len(self.secrets) < _MAX_SECRETS:
            # A position that is a multiple of 3 is one where base64 begins a group.
            start = (len(data) - _MIN_LENGTH) // 6 * 3
            middle = data[start : start + _MIN_LENGTH - 1]
            if len(set(middle)) >= _MIN_CHARACTERS:
                self.secrets[middle] = None

    def add_tenant(self, name: str) -> None:
        """Add the name of a tenant."""
        if len(name) >= _MIN_TENANT_LENGTH:
            self.tenants.add(name)

    def emit(self, record: logging.LogRecord) -> None:
        """See a log record as the product writes it, with a traceback for people, too.

        A record comes twice if it comes from a logger of ours.
        """
        if record is self._last:
            return
        self._last = record
        line = self._formatter.format(record)
        if record.exc_info:
            line += " ".join(traceback.format_exception(record.exc_info[1]))
        self._lines.append(line)
        if len(self._lines) >= _BATCH:
            self._search()

    def see(self, text: str) -> None:
        """See the output of another process. Only its log lines are checked."""
        self._lines.extend(line for line in text.splitlines() if line.startswith('{"event": '))

    def see_span(self, text: str) -> None:
        """See a span that a tracer exported, as JSON. Any thread may call this."""
        self._lines.append(text)

    def start(self) -> None:
        """Forget what an earlier test created and logged."""
        for each in (self._lines, self.secrets, self.tenants, self._faults):
            each.clear()

    def faults(self) -> list[str]:
        """Return the secrets that a line of this test contains, and the beginning of that line."""
        self._search()
        return list(self._faults)

    def _search(self) -> None:
        if not self._lines:
            return
        text = "\n".join(self._lines)
        leaked = [*_leaked_forms(text), *(secret for secret in self.secrets if _is_in(text, secret))]
        leaked += [name for name in self.tenants if _names(text, name)]
        for secret in leaked:
            line = next(line for line in self._lines if _is_in(line, secret))
            self._faults[f"{secret!r} is in a log line or a span: {line[:500]}"] = None
        self._lines.clear()

    def end(self) -> None:
        """Remember the secrets of a test, for the metrics."""
        self._tenants_of_all |= self.tenants
        if len(self._secrets_of_all) < _MAX_SECRETS_OF_ALL:
            self._secrets_of_all |= self.secrets.keys()

    def faults_of_metrics(self) -> list[str]:
        """Return the secrets of all tests that a label of a metric contains."""
        metrics = REGISTRY.collect()
        labels = {value for metric in metrics for sample in metric.samples for value in sample.labels.values()}
        text = "\n".join(labels)
        leaked = [*_leaked_forms(text), *(secret for secret in self._secrets_of_all if _is_in(text, secret))]
        return [f"{secret!r} is in a label of a metric" for secret in (*leaked, *(self._tenants_of_all & labels))]


def _leaked_forms(text: str) -> Iterator[str]:
    for found in _FORMS.findall(text):
        # A checksum is right only in a real key.
        if not found.startswith("motet_") or key_id_of(found) is not None:
            yield found


def _is_in(text: str, secret: str | bytes) -> bool:
    """Return whether a text contains a secret in one of the forms that a program writes."""
    if isinstance(secret, bytes):
        written = repr(secret)[2:-1]
        forms = {base64.b64encode(secret).decode(), secret.hex(), written, *_escaped(written)}
    elif _PLAIN.fullmatch(secret):
        forms = {secret}
    else:
        forms = {secret, *_escaped(secret)}
        forms |= {twice for once in forms for twice in _escaped(once)}
    return any(form in text for form in forms)


def _names(text: str, tenant: str) -> bool:
    """Return whether a tenant's name is a whole value, or anywhere if it cannot be a word of a log line."""
    if json.dumps(tenant) in text:
        return True
    return not tenant.isalpha() and re.search(rf"(?<![\w-]){re.escape(tenant)}(?![\w-])", text) is not None


def _escaped(text: str) -> tuple[str, str]:
    return json.dumps(text)[1:-1], repr(text)[1:-1]


def watch(patch: pytest.MonkeyPatch, canary: Canary) -> None:
    """Let every new prompt, answer, medium and caller of this process add its secrets."""

    def after(kind: type, add: Callable[[Any], None]) -> None:
        create = kind.__init__

        @wraps(create)
        def created(self: Any, *arguments: Any, **options: Any) -> None:
            create(self, *arguments, **options)
            add(self)

        patch.setattr(kind, "__init__", created)

    def add_texts(parts: Iterable[object]) -> None:
        for part in parts:
            if isinstance(part, str):
                canary.add_text(part)

    after(Message, lambda message: add_texts(message.parts))
    after(PartDelta, lambda delta: add_texts((delta.chunk,)))
    after(PartStarted, lambda part: canary.add_text(part.caption))
    after(Media, lambda media: canary.add_bytes(media.data))
    after(GenerationRequest, lambda request: canary.add_tenant(request.tenant))
    after(Caller, lambda caller: canary.add_tenant(caller.tenant))


class CanaryPlugin:
    """The hooks of pytest."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._faults_of_others: list[str] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Let the report of a failed test have the lines that it has without the canary."""
        reports = session.config.pluginmanager.get_plugin("logging-plugin")
        if reports is not None:
            reports.report_handler.setLevel(logging.WARNING)
            reports.caplog_handler.setLevel(logging.WARNING)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin a test."""
        self._canary.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Fail the test if a secret is in its log, also in the lines of its fixtures' ends."""
        yield
        faults = self._canary.faults()
        self._canary.end()
        if faults:
            pytest.fail("\n".join(faults), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail the test if a secret is on the standard error that its child processes share with the test process."""
        report = yield
        if call.when == "teardown" and report.passed:
            self._canary.see(report.capstderr)
            if faults := self._canary.faults():
                report.outcome, report.longrepr = "failed", "\n".join(faults)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the session if a secret is in the metrics of this process, or of a process that ran a part of it."""
        faults = self._faults_of_others + self._canary.faults_of_metrics()
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["faults_of_metrics"] = faults
        elif faults:
            print("\n".join(["", *faults]))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Receive the faults of a process of pytest-xdist. One that crashed sends none."""
        self._faults_of_others += getattr(node, "workeroutput", {}).get("faults_of_metrics", [])


CANARY = Canary()
"""The canary of the test process."""


def pytest_configure(config: pytest.Config) -> None:
    """Watch the whole session."""
    patch = pytest.MonkeyPatch()
    watch(patch, CANARY)
    config.add_cleanup(patch.undo)
    config.pluginmanager.register(CanaryPlugin(CANARY))
    # Tests replace the handlers of the root logger, but not those of ours.
    logging.getLogger().addHandler(CANARY)
    for logger in map(logging.getLogger, _LOGGERS):
        logger.addHandler(CANARY)
        logger.setLevel(logging.DEBUG)
