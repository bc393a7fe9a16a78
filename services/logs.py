"""Log lines on standard error: readable lines on a terminal, JSON lines otherwise."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

import structlog

from motet.answers.printable import printable, printable_line

# Local variables may hold prompts and media.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure_logs(level: str = "info") -> None:
    """Send every log line of this process, from any library, to standard error in one format.

    No log line contains a prompt, media or a model's text.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = (
        [_printable_values, structlog.dev.ConsoleRenderer(exception_formatter=_print_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(level.upper())


def _printable_values(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Return a log line whose texts cannot control the terminal. Peers and callers send some of them."""
    return {key: printable_line(value) if isinstance(value, str) else value for key, value in event.items()}


def _print_traceback(target: TextIO, exception: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exception)
    target.write(printable(text.getvalue()))
