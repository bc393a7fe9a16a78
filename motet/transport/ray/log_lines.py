"""The log lines of Ray in a process that Ray did not start."""

from __future__ import annotations

import logging


def use_own_log_lines() -> None:
    """Let the log lines of Ray's libraries have the format of this process, from the level WARNING."""
    # Ray and Serve add handlers to their loggers when they are imported.
    import ray
    from ray import serve

    for library in (ray, serve):
        logger = logging.getLogger(library.__name__)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(logging.WARNING)
