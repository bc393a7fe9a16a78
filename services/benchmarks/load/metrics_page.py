"""The samples of a service, as its metrics address serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_TIMEOUT = 30.0
"""Maximum time of a request for the metrics, in seconds."""


async def read_samples(address: str) -> list[Sample]:
    """Return all samples now, from the metrics at an address. Raises `OSError` if it cannot be reached."""
    text = await asyncio.to_thread(_get, f"http://{address}/metrics")
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def named(samples: Iterable[Sample], name: str) -> list[Sample]:
    """Return the samples with this name."""
    return [sample for sample in samples if sample.name == name]


def total(samples: Iterable[Sample], name: str) -> float:
    """Return the sum of the samples with this name, over all labels. 0 without one."""
    return sum(sample.value for sample in named(samples, name))


def _get(url: str) -> str:
    with urlopen(url, timeout=_TIMEOUT) as response:
        return str(response.read(), "utf-8")
