"""The addresses of workers that Ray Serve runs."""

from __future__ import annotations

import re

from motet.core.errors import SettingsError

_SCHEME = "ray:"
_ADDRESS = re.compile(rf"{_SCHEME}(?P<application>[A-Za-z0-9][A-Za-z0-9._-]{{0,99}})")


def is_in_ray(address: str) -> bool:
    """Return whether an address has the scheme of applications of Ray."""
    return address.startswith(_SCHEME)


def address_of(application: str) -> str:
    """Return the address of the workers of an application."""
    return f"{_SCHEME}{application}"


def application_of(address: str) -> str:
    """Return the application of an address, `ray:APPLICATION`. Raises `SettingsError` for another form."""
    matched = _ADDRESS.fullmatch(address)
    if matched is None:
        raise SettingsError(
            f"{address!r} is not the address of workers in Ray: write ray:APPLICATION",
            metadata={"address": address},
        )
    return matched["application"]
