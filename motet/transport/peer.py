"""The client of a connection, from the certificate that it showed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

_ROLE = re.compile(r"spiffe://[a-z0-9._-]+/motet/([a-z0-9._-]+)")

_MAX_CERTIFICATES = 1024
"""Number of certificates whose expiry is remembered."""


class Peer:
    """The client of a call's connection. TLS verified that an authority of the listener signed its certificate."""

    def __init__(self, context: _Context) -> None:
        # gRPC makes a new copy at each call, which takes longer than all that is read from it.
        self._properties = context.auth_context()

    @property
    def identities(self) -> tuple[str, ...]:
        """The URIs and then the DNS names in the client's certificate. () for a client without one."""
        return (*self._names("peer_uri"), *self._names("peer_dns"))

    @property
    def role(self) -> str | None:
        """ROLE if the client's certificate has the SPIFFE id spiffe://DOMAIN/motet/ROLE. Otherwise None.

        A certificate with several URIs has no role: it is not a SPIFFE identity.
        """
        uris = self._names("peer_uri")
        found = _ROLE.fullmatch(uris[0]) if len(uris) == 1 else None
        return found and found[1]

    @property
    def expire_time(self) -> float | None:
        """The last second in which the client's certificate is valid, since the epoch. None for a client without one.

        Raises `ValueError` for a certificate that cannot be read.
        """
        certificate = next(iter(self._properties.get("x509_pem_cert", ())), None)
        return None if certificate is None else _expire_time_of(certificate)

    def _names(self, kind: str) -> tuple[str, ...]:
        """Return the names of one kind. A byte that is not UTF-8 becomes U+FFFD, which no configured name has."""
        return tuple(name.decode(errors="replace") for name in self._properties.get(kind, ()))


@lru_cache(_MAX_CERTIFICATES)
def _expire_time_of(certificate: bytes) -> float:
    # A client has no such peers, and may lack the library.
    from cryptography import x509

    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
