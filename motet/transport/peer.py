"""The identity of a caller, from the client certificate of its connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

_ROLE = re.compile(r"spiffe://[a-z0-9._-]+/motet/([a-z0-9._-]+)")


def peer_identities(context: _Context) -> tuple[str, ...]:
    """Return the URIs and then the DNS names in the client's certificate. Return () for a client without one.

    TLS verified that an authority of the listener signed the certificate.
    """
    return (*_names(context, "peer_uri"), *_names(context, "peer_dns"))


def peer_role(context: _Context) -> str | None:
    """Return ROLE if the client's certificate has the SPIFFE id spiffe://DOMAIN/motet/ROLE. Otherwise return None.

    A certificate with several URIs has no role: it is not a SPIFFE identity.
    """
    uris = _names(context, "peer_uri")
    found = _ROLE.fullmatch(uris[0]) if len(uris) == 1 else None
    return found and found[1]


def _names(context: _Context, kind: str) -> tuple[str, ...]:
    """Return the names of one kind. A byte that is not UTF-8 becomes U+FFFD, which no configured name has."""
    return tuple(name.decode(errors="replace") for name in context.auth_context().get(kind, ()))
