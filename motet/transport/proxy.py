"""The HTTP proxy of a client's connection to a remote server."""

from __future__ import annotations

import re

from motet.core.errors import SettingsError
from motet.transport.address import is_local

_PROXY = re.compile(r"http://(?:(?P<user>[^@/\s]+)@)?(?P<host_port>[^@/\s]+:\d{1,5})/?")


def proxy_of(address: str, proxy: str) -> str:
    """Return the proxy of connections to an address, or "" for none: addresses of this machine need none.

    Raises `SettingsError` for a proxy that is not a URL such as http://HOST:PORT.
    """
    if proxy and not _PROXY.fullmatch(proxy):
        raise SettingsError(f"{without_password(proxy)!r} is not a proxy: write http://HOST:PORT")
    return "" if is_local_target(address) else proxy


def is_local_target(address: str) -> bool:
    """Return whether a channel to an address of any form connects to this machine only."""
    return all(map(is_local, re.sub(r"^(dns:(//[^/]*/)?|ipv[46]:)", "", address).split(",")))


def without_password(proxy: str) -> str:
    """Return the URL of a proxy without user and password."""
    return re.sub(r"//[^/]*@", "//", proxy)
