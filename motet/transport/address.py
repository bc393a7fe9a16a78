"""Addresses that a process listens at, and the errors of binding them."""

from __future__ import annotations

import errno
import ipaddress
import socket

from motet.core.errors import Reason, SettingsError


def split_address(address: str) -> tuple[str, int]:
    """Split HOST:PORT into the host without brackets and the port. Raises `SettingsError` for anything else."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and int(port) <= 65535):
        raise SettingsError(
            f"{address!r} is not an address to listen at: write HOST:PORT, such as 127.0.0.1:50050",
            metadata={"address": address},
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_local(address: str) -> None:
    """Raise `SettingsError` unless only this machine can reach the address."""
    if address.startswith(("unix:", "unix-abstract:")):
        return
    host, _ = split_address(address)
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise SettingsError(
            f"{address} can be reached from the network, and connections would not be encrypted or authenticated: "
            "use TLS credentials, listen at 127.0.0.1, or set --allow-insecure",
            metadata={"address": address},
        )


def find_bind_error(address: str) -> SettingsError:
    """Return the reason why an address cannot be bound, found by binding a socket to it."""
    if address.startswith("unix"):
        return SettingsError(f"cannot listen at {address}: the path cannot be created or is in use")
    host, port = split_address(address)
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(name)
    except OSError as error:
        return bind_error(address, error)
    return SettingsError(f"cannot listen at {address}; try another port", metadata={"address": address})


def bind_error(address: str, error: OSError) -> SettingsError:
    """Return the `SettingsError` for an error of the operating system on binding an address."""
    metadata = {"address": address}
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"{address} is in use by another process; stop it or choose another port", Reason.ADDRESS_IN_USE, metadata
        )
    return SettingsError(f"cannot listen at {address}: {error.strerror}", metadata=metadata)
