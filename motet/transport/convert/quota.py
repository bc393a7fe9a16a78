"""Quotas on the wire."""

from __future__ import annotations

from motet.core.service import Quota
from motet.v1 import quota_service_pb2 as pb


def quota_to_proto(quota: Quota) -> pb.Quota:
    """Return the quota as a message."""
    return pb.Quota(name=quota.name, limit=quota.limit, remaining=quota.remaining)


def quota_from_proto(quota: pb.Quota) -> Quota:
    """Return the quota of a message."""
    return Quota(name=quota.name, limit=quota.limit, remaining=quota.remaining)
