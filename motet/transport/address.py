"""Where a process may listen, and why it could not."""

from __future__ import annotations

import errno
import ipaddress
import socket

from motet.core.errors import Reason, SettingsError


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT as host, without brackets, and port. Raises `SettingsError` for anything else."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and int(port) <= 65535):
        raise SettingsError(
            f"{address!r} is not an address to listen at: write HOST:PORT, such as 127.0.0.1:50050",
            metadata={"address": address},
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_local(address: str) -> None:
    """Raises `SettingsError` unless only this machine can reach the address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return
    host, _ = split_address(address)
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise SettingsError(
            f"{address} can be reached from the network, and the connection would be neither encrypted nor "
            "authenticated: give TLS credentials, listen at 127.0.0.1, or ask for an insecure address in words",
            metadata={"address": address},
        )


def bind_failure(address: str) -> SettingsError:
    """Why an address could not be bound, found by trying once more."""
    if address.startswith("unix"):
        return SettingsError(f"cannot listen at {address}: the path cannot be made or is in use")
    host, port = split_address(address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except OSError as error:
        return refusal(address, error)
    return SettingsError(f"cannot listen at {address}; try another port", metadata={"address": address})


def refusal(address: str, error: OSError) -> SettingsError:
    """What an operating system's refusal to bind means."""
    metadata = {"address": address}
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"{address} is in use by another process; stop it or choose another port", Reason.ADDRESS_IN_USE, metadata
        )
    return SettingsError(f"cannot listen at {address}: {error.strerror}", metadata=metadata)
