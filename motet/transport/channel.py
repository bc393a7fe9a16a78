"""Client channels: one function that opens them, with keepalive and retries as data."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio

from motet.core.errors import RequestError, SettingsError
from motet.core.media import MEBI
from motet.transport.proxy import proxy_of

MAX_MESSAGE_BYTES = 4 * MEBI
"""Maximum size of a message in bytes. It is gRPC's default; larger data is sent in chunks."""

HOP = 0.05
"""Seconds that each hop subtracts from a deadline, so that the response arrives before its caller's deadline."""

FLOW_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # With the probe, the window grows to several MiB for each reader that has stopped reading.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 64 * 2**10),
    # Load balancers drop idle connections silently. A ping detects a dead peer within 40 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC 1.82 ignores the option above, and waits for a minute by default.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
"""Options of both ends of a connection."""

_CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    *FLOW_OPTIONS,
    # Maximum bytes of a request that are kept for a retry. gRPC's default is one chunk.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    # A restarted server is used at once. gRPC's default is up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Despite its name, this is the timeout of an attempt to connect.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # Channels do not share connections. Otherwise a new channel inherits the backoff of another channel to the address,
    # also shortly after that channel was closed, and its calls fail without an attempt to connect (grpc#17282).
    ("grpc.use_local_subchannel_pool", 1),
)

# gRPC retries a call only until its first response arrives, so it never replays a stream that has begun. The throttling
# stops retries against a service that fails most calls.
_RETRIES: Mapping[str, Any] = {
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
_HOST_PORT = rf"{_HOST}:\d{{1,5}}"
_ADDRESS = re.compile(
    rf"unix:.+|unix-abstract:.+|(?:dns:(?://[^/]*/)?)?{_HOST_PORT}|ipv[46]:{_HOST_PORT}(?:,{_HOST_PORT})*"
)


def checked_address(address: str) -> str:
    """Return the address if it is HOST:PORT, dns:///HOST:PORT, ipv4:IP:PORT,IP:PORT or unix:PATH.

    Raises `SettingsError` for anything else.
    """
    ports = [] if address.startswith("unix") else re.findall(r":(\d+)(?:,|$)", address)
    if not _ADDRESS.fullmatch(address) or any(int(port) > 65535 for port in ports):
        raise SettingsError(
            f"{address!r} is not an address: write HOST:PORT, such as localhost:50050, or unix:PATH",
            metadata={"address": address},
        )
    return address


_process: int | None = None
"""The id of the process that opened the first channel. A child process after `fork` inherits it."""


def is_forked() -> bool:
    """Return whether this process was forked from a process that had opened a channel."""
    return _process not in (None, os.getpid())


def check_process() -> None:
    """Raise `RequestError` in a forked process, because gRPC's threads do not exist there and each call would hang."""
    if is_forked():
        raise RequestError(
            "gRPC was in use when this process was forked, and does not work in the child process: "
            "start processes with the method 'spawn', or fork before the first client"
        )


def open_channel(
    address: str,
    credentials: grpc.ChannelCredentials | None = None,
    health: str | None = None,
    *,
    retries: bool = True,
    proxy: str = "",
    server_name: str = "",
) -> grpc.aio.Channel:
    """Open a channel to every replica behind an address. It connects at its first call. Close it after use.

    Without credentials, the connection is plain text. With `health`, calls go only to replicas whose health service
    reports SERVING for that name; "" is the whole process. With `retries`, gRPC repeats calls that fail with
    UNAVAILABLE before their first response, up to three attempts, which is for calls that are safe to repeat. The
    orchestrator's channels to its workers have none, because its pools retry. With `proxy`, a URL, the connection goes
    through this HTTP proxy, unless the address is local. With `server_name`, the certificate of the server must have
    this name, not the host of the address.

    Raises `SettingsError` for an invalid address or proxy, and `RequestError` in a forked process, see `check_process`.
    """
    global _process
    check_process()
    _process = os.getpid()
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if retries:
        config |= _RETRIES
    if health is not None:
        config["healthCheckConfig"] = {"serviceName": health}
    address = checked_address(address)
    # By default, gRPC uses the proxy that the environment's `http_proxy` names, also for loopback addresses.
    used_proxy = proxy_of(address, proxy)
    proxy_options = ("grpc.http_proxy", used_proxy) if used_proxy else ("grpc.enable_http_proxy", 0)
    options = (*_CLIENT_OPTIONS, ("grpc.service_config", json.dumps(config)), proxy_options)
    if credentials is None:
        return grpc.aio.insecure_channel(address, options)
    if server_name:
        options = (*options, ("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(address, credentials, options)
