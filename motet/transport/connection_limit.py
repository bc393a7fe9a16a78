"""The maximum number of connections that a server accepts."""

from __future__ import annotations

import resource

_RESERVED_SHARE = 0.25
_MIN_RESERVED = 40
"""The share and the minimum number of file descriptors that connections of callers cannot take.

The process needs them for its files, its child processes, its connections to workers, and its health and metrics.
"""

_UNLIMITED = 2**20
"""Number of file descriptors that stands for no limit."""


def max_connections() -> int:
    """Return the maximum number of connections of callers to this process, at least 1."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _UNLIMITED if limit == resource.RLIM_INFINITY else limit
    return max(1, limit - max(_MIN_RESERVED, round(_RESERVED_SHARE * limit)))
