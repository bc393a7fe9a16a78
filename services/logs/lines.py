"""Log lines on standard error: readable lines on a terminal, JSON lines otherwise."""

from __future__ import annotations

import atexit
import io
import json
import logging
import queue
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic
from typing import TextIO

import structlog

from motet.answers.printable import printable, printable_line
from motet.core.logs.request_id import current_request_id
from motet.core.telemetry.families.process_metrics import LOG_LINES_DROPPED, LOG_LINES_REPEATED
from motet.core.tracing.span import current_trace_id
from services.logs.repeated_lines import PERIOD, RepeatedLines

# Local variables may hold prompts and media.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)

_NO_EXTRAS = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
"""The attributes of a log record that are no fields of its line."""

_MAX_WAITING = 10_000
"""Maximum number of lines that wait for a slow reader of standard error. Lines beyond it are dropped and counted."""

_FLUSH_TIMEOUT = 1.0
"""Maximum time for the waiting lines at the end of the process, in seconds."""


class LineWriter(logging.Handler):
    """A handler that writes the lines in a thread, so a slow reader of the lines holds up no caller.

    Each line gets the ids of its caller's request and trace, and `service`, the name of this process's service. Of
    equal warnings and errors, `RepeatedLines` admits some.
    """

    def __init__(self, lines: logging.Handler, service: str, max_waiting: int = _MAX_WAITING) -> None:
        super().__init__()
        self._lines = lines
        self._service = service
        self._repeated = RepeatedLines()
        self._waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._write, name="log-lines", daemon=True)
        self.addFilter(_repeats_no_metadata)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line. The caller holds the handler's lock."""
        if not self._repeated.admits(record):
            LOG_LINES_REPEATED.inc()
            return
        if self._thread.ident is None:
            # A thread inherits the niceness, which a service sets after it configured its logs.
            self._thread.start()
        # The ids are known only in the caller's context.
        if request_id := current_request_id():
            record.request_id = request_id
        if trace_id := current_trace_id():
            record.trace_id = trace_id
        if self._service:
            record.service = self._service
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            LOG_LINES_DROPPED.inc()

    def flush_waiting(self) -> None:
        """Write the waiting lines, if this takes at most a second, and end."""
        if self._thread.ident is None:
            return
        self._report_repeated(early=True)
        try:
            self._waiting.put(None, timeout=_FLUSH_TIMEOUT)
        except queue.Full:
            return
        self._thread.join(_FLUSH_TIMEOUT)

    def _write(self) -> None:
        reported = monotonic()
        while True:
            with suppress(queue.Empty):
                if (record := self._waiting.get(timeout=PERIOD)) is None:
                    return
                self._lines.handle(record)
            if monotonic() - reported >= PERIOD:
                reported = monotonic()
                self._report_repeated()

    def _report_repeated(self, *, early: bool = False) -> None:
        """Write the numbers of lines that were left out. Without a further line, no line would have them."""
        self.acquire()
        try:
            records = list(self._repeated.ended(early=early))
        finally:
            self.release()
        for record in records:
            self._lines.handle(record)


def _repeats_no_metadata(record: logging.LogRecord) -> bool:
    """Return false for gRPC's lines about metadata and paths that are not UTF-8.

    Any peer could cause these lines. They repeat the bytes, which may be credentials.
    """
    if not record.name.startswith("grpc"):
        return True
    error = record.exc_info[0] if record.exc_info else None
    return error is not UnicodeDecodeError and not str(record.msg).startswith("Invalid encoding")


class JsonLines(logging.Formatter):
    """A formatter of JSON lines. structlog takes twice as long, for two lines of each request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _NO_EXTRAS}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = _TRACEBACKS(record.exc_info)
        return json.dumps(line, default=repr)


def configure_logs(level: str = "info", service: str = "") -> LineWriter:
    """Send every log line of this process, from any library, to standard error in one format.

    No log line contains a prompt, media or a model's text. The end of the process writes the lines that wait.
    """
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(_terminal_lines() if sys.stderr.isatty() else JsonLines())
    writer = LineWriter(lines, service)
    atexit.register(writer.flush_waiting)
    root = logging.getLogger()
    root.handlers = [writer]
    root.setLevel(level.upper())
    return writer


def _terminal_lines() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _printable_values,
            structlog.dev.ConsoleRenderer(exception_formatter=_print_traceback),
        ],
    )


def _printable_values(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Return a log line whose texts cannot control the terminal. Peers and callers send some of them."""
    return {key: printable_line(value) if isinstance(value, str) else value for key, value in event.items()}


def _print_traceback(target: TextIO, exception: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exception)
    target.write(printable(text.getvalue()))
