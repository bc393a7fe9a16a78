"""Credentials of a client: TLS from files, and an API key."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import grpc

from motet.core.errors import SettingsError
from motet.core.files.regular_file import read_file
from motet.transport.proxy import is_local_target

AUTHORIZATION = "authorization"

_MAX_BYTES = 16 * 2**20
"""Maximum size of a PEM file. A file of all public authorities has less than 1 MiB."""

TLS_VARIABLES = "MOTET_TLS_CA", "MOTET_TLS_CERT", "MOTET_TLS_KEY"
"""The variables that name the authorities, the client's certificate and its key."""


def tls_credentials(
    authorities: str | Path, certificate: str | Path | None = None, key: str | Path | None = None
) -> grpc.ChannelCredentials:
    """Return credentials from PEM files: trusted authorities, and a certificate for servers that require one.

    Raises `SettingsError`, which names the file, for a file that is missing or wrong, and for a certificate without its
    key.
    """
    _, trusted, chain, private = _checked(authorities, certificate, key)
    return grpc.ssl_channel_credentials(trusted, private, chain)


def tls_context(
    authorities: str | Path, certificate: str | Path | None = None, key: str | Path | None = None
) -> ssl.SSLContext:
    """Return the context of a client that does not use gRPC, from the files of `tls_credentials`. Raises as it does."""
    return _checked(authorities, certificate, key)[0]


def _checked(
    authorities: str | Path, certificate: str | Path | None, key: str | Path | None
) -> tuple[ssl.SSLContext, bytes, bytes | None, bytes | None]:
    """Return the context of valid files, and the contents of the authorities, of the certificate and of its key."""
    if (certificate is None) != (key is None):
        raise SettingsError("a client certificate needs a certificate and its key: set both, or none of them")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusted = _read(authorities)
    try:
        context.load_verify_locations(cadata=trusted.decode())
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{authorities} has no certificate in PEM: name another file") from None
    if certificate is None or key is None:
        return context, trusted, None, None
    # The errors of the context do not name the file that is missing.
    chain, private = _read(certificate), _read(key)
    try:
        # Without the password, a terminal would ask for the one of an encrypted key.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError):
        message = f"{certificate} and {key} are not a certificate and its key, in PEM and without a passphrase"
        raise SettingsError(message) from None
    return context, trusted, chain, private


def tls_credentials_of(environment: Mapping[str, str]) -> grpc.ChannelCredentials | None:
    """Return the credentials that environment variables name, or None if none of them is set.

    Raises `SettingsError` as `tls_credentials`, and for a certificate without `MOTET_TLS_CA`.
    """
    authorities, certificate, key = (environment.get(name) or None for name in TLS_VARIABLES)
    return optional_tls_credentials(authorities, certificate, key)


def optional_tls_credentials(
    authorities: str | Path | None, certificate: str | Path | None, key: str | Path | None
) -> grpc.ChannelCredentials | None:
    """Return credentials, or None for plain text if there is no file. Raises `SettingsError` as `tls_credentials`.

    A certificate without authorities is refused, because it would not be used.
    """
    if authorities is not None:
        return tls_credentials(authorities, certificate, key)
    if certificate is not None or key is not None:
        raise SettingsError("a client certificate needs TLS: set --tls-ca or MOTET_TLS_CA, too")
    return None


def key_metadata(api_key: str, address: str, *, encrypted: bool, allow_insecure: bool) -> Mapping[str, str]:
    """Return the metadata that holds an API key, for calls to an address.

    Raises `SettingsError` for a key that cannot be sent, and for a connection to another machine that is not encrypted,
    unless `allow_insecure` is set. No error has the key.
    """
    if not (api_key.isascii() and api_key.isprintable() and " " not in api_key):
        raise SettingsError("the API key cannot be sent: it has spaces, or characters that are not printable ASCII")
    if not (encrypted or allow_insecure or is_local_target(address)):
        raise SettingsError(
            f"the API key would be sent to {address} without encryption: use TLS credentials, or set allow_insecure",
            metadata={"address": address},
        )
    return {AUTHORIZATION: f"Bearer {api_key}"}


def _read(path: str | Path) -> bytes:
    return read_file(Path(path), _MAX_BYTES, "PEM file")
