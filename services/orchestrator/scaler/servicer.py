"""KEDA's ExternalScaler service."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.errors import RequestError
from motet.internal.externalscaler import externalscaler_pb2 as scaler_pb
from motet.internal.externalscaler import externalscaler_pb2_grpc as scaler_grpc
from orchestrator.pool.pool_calls import PoolCalls
from services.orchestrator.scaler.trigger import Trigger

METRIC = "demand-seconds"
"""Name of the only metric, as a name in Kubernetes."""


class ScalerServicer(scaler_grpc.ExternalScalerServicer):
    """Serves the demand of pools, by the names that the label `pool` of the metrics has."""

    name = scaler_pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name

    def __init__(self, pools: Mapping[str, PoolCalls]) -> None:
        self._pools = pools

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        scaler_grpc.add_ExternalScalerServicer_to_server(self, server)

    async def IsActive(self, request: scaler_pb.ScaledObjectRef, context: Any) -> scaler_pb.IsActiveResponse:
        """Return whether the pool needs at least one replica."""
        return scaler_pb.IsActiveResponse(result=self._calls(request).demand.active)

    async def StreamIsActive(
        self, request: scaler_pb.ScaledObjectRef, context: Any
    ) -> AsyncGenerator[scaler_pb.IsActiveResponse, None]:
        """Yield whether the pool needs at least one replica, at once and after each change."""
        async with aclosing(self._calls(request).watch_active()) as states:
            async for active in states:
                yield scaler_pb.IsActiveResponse(result=active)

    async def GetMetricSpec(self, request: scaler_pb.ScaledObjectRef, context: Any) -> scaler_pb.GetMetricSpecResponse:
        """Return the metric and its target for one replica."""
        target = self._trigger(request).target
        spec = scaler_pb.MetricSpec(metricName=METRIC, targetSize=max(1, round(target)), targetSizeFloat=target)
        return scaler_pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def GetMetrics(self, request: scaler_pb.GetMetricsRequest, context: Any) -> scaler_pb.GetMetricsResponse:
        """Return the demand of the pool."""
        if request.metricName not in ("", METRIC):
            raise RequestError(f"there is no metric {request.metricName[:40]!r}: ask for {METRIC}")
        seconds = self._calls(request.scaledObjectRef).demand.seconds
        value = scaler_pb.MetricValue(metricName=METRIC, metricValue=math.ceil(seconds), metricValueFloat=seconds)
        return scaler_pb.GetMetricsResponse(metricValues=[value])

    def _trigger(self, scaled_object: scaler_pb.ScaledObjectRef) -> Trigger:
        return Trigger.parse(scaled_object.scalerMetadata, self._pools)

    def _calls(self, scaled_object: scaler_pb.ScaledObjectRef) -> PoolCalls:
        return self._pools[self._trigger(scaled_object).pool]
