"""The limits of a server's calls and connections."""

from __future__ import annotations

from dataclasses import dataclass

MAX_METADATA_BYTES = 16 * 2**10
"""Maximum size of the metadata of a call, in bytes. A token of an identity provider may take 8 KiB."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of the calls of a server. All times are in seconds.

    `open_calls` is the maximum number of calls that are open at the same time. A call is open until its caller has read
    its response. `send_timeout` is the maximum time for which a caller of a stream takes no response,
    `receive_timeout` the maximum time without a message in the request of a stream. After this time,
    `min_receive_rate` is the minimum average speed of such a request, in bytes per second.
    """

    open_calls: int = 4096
    send_timeout: float = 60.0
    receive_timeout: float = 10.0
    min_receive_rate: float = 32 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of the connections of a server. All times are in seconds.

    A connection is closed if it does not start HTTP/2 within `handshake_timeout`, has no call for `idle_timeout`, or
    answers no ping for `ping_timeout`. The server sends a ping after `ping_interval` without data. A connection gets no
    new calls after `max_age`, and is closed when its calls have ended, so a handshake verifies each caller again.
    """

    handshake_timeout: float = 10.0
    idle_timeout: float = 300.0
    ping_interval: float = 30.0
    ping_timeout: float = 10.0
    max_age: float = 3600.0

    def options(self) -> dict[str, int]:
        """Return the options of a gRPC server, in milliseconds."""
        return {
            # gRPC's default is two minutes.
            "grpc.server_handshake_timeout_ms": round(1000 * self.handshake_timeout),
            # Clients connect again at their next call. gRPC has no limit by default.
            "grpc.max_connection_idle_ms": round(1000 * self.idle_timeout),
            # gRPC has no limit by default. It varies the age by a tenth, so that connections do not end together.
            "grpc.max_connection_age_ms": round(1000 * self.max_age),
            "grpc.keepalive_time_ms": round(1000 * self.ping_interval),
            "grpc.keepalive_timeout_ms": round(1000 * self.ping_timeout),
            "grpc.http2.ping_timeout_ms": round(1000 * self.ping_timeout),
        }
