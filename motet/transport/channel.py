"""How a client connects: one function, with retries and keepalive stated as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import grpc.aio

from motet.core.errors import SettingsError

LARGEST_MESSAGE = 4 * 2**20
"""Bytes; gRPC's own default, kept on purpose: what is larger travels in chunks."""

CHUNK = 256 * 2**10
"""Bytes; the fastest size measured, and small enough that a stalled reader holds little."""

HOP = 0.05
"""Seconds taken off a deadline at each hop, so that an answer still arrives before its caller gives up."""

FLOW_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    # The default window grows to several MiB for each reader that has stopped reading.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 * 2**10),
    # Idle connections are cut by load balancers, silently; a ping tells a dead peer within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
"""What both ends of a connection set."""

_CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW_OPTIONS,
    # What was sent is kept for another attempt up to this many bytes; gRPC's own limit is one chunk.
    ("grpc.per_rpc_retry_buffer_size", LARGEST_MESSAGE),
    # A worker that came back is found again soon, not after gRPC's two minutes at most.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Not what its name says: for so long a connection may take to come about.
    ("grpc.min_reconnect_backoff_ms", 5_000),
)

# gRPC retries a call only until its first response arrives, so a stream that has begun is never silently replayed.
# Generations are safe to repeat by their request id, workers because equal jobs make equal bytes. The bucket keeps a
# dead service from being asked four times as often as a living one.
_SERVICE_CONFIG: Mapping[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
}

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+)"
_PLACE = rf"{_HOST}:\d{{1,5}}"
_ADDRESS = re.compile(rf"unix:.+|unix-abstract:.+|(?:dns:(?://[^/]*/)?)?{_PLACE}|ipv[46]:{_PLACE}(?:,{_PLACE})*")


def chunks(data: bytes) -> Iterator[bytes]:
    """The data in pieces of `CHUNK` bytes at most; none for no data."""
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def checked_address(address: str) -> str:
    """The address as it is: HOST:PORT, dns:///HOST:PORT, ipv4:IP:PORT,IP:PORT or unix:PATH.

    Raises `SettingsError` for anything else.
    """
    ports = [] if address.startswith("unix") else re.findall(r":(\d+)(?:,|$)", address)
    if not _ADDRESS.fullmatch(address) or any(int(port) > 65535 for port in ports):
        raise SettingsError(
            f"{address!r} is not an address: write HOST:PORT, such as localhost:50050, or unix:PATH",
            metadata={"address": address},
        )
    return address


def open_channel(
    address: str, credentials: grpc.ChannelCredentials | None = None, health: str | None = None
) -> grpc.aio.Channel:
    """A channel to every replica behind an address; it connects when it is first used. Close it.

    Without credentials it is plain text. With `health`, replicas whose health service does not call that name SERVING
    are passed over, so that a draining one costs no attempt; "" is the replica as a whole.

    Raises `SettingsError` for what is not an address.
    """
    config = dict(_SERVICE_CONFIG) | ({} if health is None else {"healthCheckConfig": {"serviceName": health}})
    options = (*_CLIENT_OPTIONS, ("grpc.service_config", json.dumps(config)))
    if credentials is None:
        return grpc.aio.insecure_channel(checked_address(address), options)
    return grpc.aio.secure_channel(checked_address(address), credentials, options)
