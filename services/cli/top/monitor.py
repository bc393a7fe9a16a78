"""Repeated readings of the metrics of a deployment's processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from motet.core.clock import now
from motet.core.errors import MotetError
from services.cli.top.endpoint import MetricsEndpoint, MetricsSource
from services.cli.top.reading import MetricsReading, rates_between
from services.cli.top.rows.process import ObservedProcess
from services.cli.top.snapshot import Snapshot
from services.metric_samples import MetricSamples, exposition_of


class Monitor:
    """Readings of all endpoints of a source. It keeps the latest reading of each, for the rates until the next one.

    `unix_time` returns the seconds since the epoch.
    """

    def __init__(self, source: MetricsSource, unix_time: Callable[[], float] = time.time) -> None:
        self._source = source
        self._unix_time = unix_time
        self._readings: dict[tuple[str, str], MetricsReading] = {}

    async def read(self) -> Snapshot:
        """Read all endpoints concurrently, and return the state. An endpoint that fails is part of it.

        Raises `MotetError` if the source knows no endpoint.
        """
        endpoints = await self._source.endpoints()
        observed = await asyncio.gather(*map(self._observe, endpoints))
        present = {(endpoint.name, endpoint.address) for endpoint in endpoints}
        self._readings = {key: reading for key, reading in self._readings.items() if key in present}
        return Snapshot.of(self._unix_time(), observed)

    async def _observe(self, endpoint: MetricsEndpoint) -> ObservedProcess:
        name, address = endpoint.name, endpoint.address
        try:
            text = await endpoint.read()
            at = now()
            metrics = await asyncio.to_thread(exposition_of, text)
        except MotetError as error:
            return ObservedProcess(name, address, error.message)
        except (ValueError, KeyError):
            return ObservedProcess(name, address, "sends no metrics in the format of Prometheus")
        if not metrics.gauges.of("motet_build_info"):
            return ObservedProcess(name, address, "sends no metrics of Motet")
        after = MetricsReading(at, metrics)
        before = self._readings.get((name, address))
        self._readings[name, address] = after
        rates = MetricSamples({}) if before is None else rates_between(before, after)
        return ObservedProcess(name, address, "", metrics.gauges, rates, metrics.names)
