"""Addresses that a process listens at, and the errors of binding them."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

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


def is_local(address: str) -> bool:
    """Return whether an address can be reached only from this machine. Raises `SettingsError` as `split_address`."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host, _ = split_address(address)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposed(
    address: str,
    *,
    tls: bool,
    authenticated: bool,
    remedy: str = "set --tls-cert, --tls-key and --tls-client-ca",
    permission: str = "--allow-insecure",
) -> None:
    """Raise `SettingsError` if other machines can reach an address that is not encrypted or not authenticated.

    `tls` is true if connections are encrypted. `authenticated` is true if no call is accepted without a certificate or
    a key. `remedy` names the settings that secure the address, and `permission` the one that allows it nevertheless.
    """
    lacks = (["encrypted"] if not tls else []) + (["authenticated"] if not authenticated else [])
    if lacks and not is_local(address):
        raise SettingsError(
            f"{address} can be reached from the network, and calls would not be {' or '.join(lacks)}: {remedy}, "
            f"listen at 127.0.0.1, or set {permission}",
            metadata={"address": address},
        )


def check_free(address: str) -> None:
    """Raise `SettingsError` if no process can listen at the address now. The address stays free."""
    if address.startswith("unix-abstract:"):
        return
    if address.startswith("unix:"):
        _check_free_path(address, Path(re.sub(r"^unix:(//(?=/))?", "", address)))
        return
    host, port = split_address(address)
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # gRPC's sockets have this option, so a port of an ended process can be used at once.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(name)
    except OSError as error:
        raise bind_error(address, error) from None


def _check_free_path(address: str, path: Path) -> None:
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)):
        raise SettingsError(f"cannot listen at {address}: {path.parent} is not a folder that this process can write to")
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        # gRPC replaces the socket of an ended process, but would also replace one that is in use.
        probe.connect(str(path))
        raise bind_error(address, OSError(errno.EADDRINUSE, "in use"))
    if not path.is_socket():
        raise SettingsError(f"cannot listen at {address}: {path} is a file of another kind; choose another path")


def find_bind_error(address: str) -> SettingsError:
    """Return the reason why an address cannot be bound, found by binding a socket to it."""
    try:
        check_free(address)
    except SettingsError as error:
        return error
    return SettingsError(f"cannot listen at {address}; try another one", metadata={"address": address})


def bind_error(address: str, error: OSError) -> SettingsError:
    """Return the `SettingsError` for an error of the operating system on binding an address."""
    metadata = {"address": address}
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"{address} is in use by another process; stop it or choose another port", Reason.ADDRESS_IN_USE, metadata
        )
    return SettingsError(f"cannot listen at {address}: {error.strerror}", metadata=metadata)
