"""The metrics of a service, as its metrics address serves them."""

from __future__ import annotations

import asyncio
from urllib.request import urlopen

from services.metric_samples import Exposition, exposition_of

_TIMEOUT = 30.0
"""Maximum time of a request for the metrics, in seconds."""


async def read_metrics(address: str) -> Exposition:
    """Return the metrics at an address now. Raises `OSError` if it cannot be reached."""
    return await asyncio.to_thread(lambda: exposition_of(_get(f"http://{address}/metrics")))


def _get(url: str) -> str:
    with urlopen(url, timeout=_TIMEOUT) as response:
        return str(response.read(), "utf-8")
