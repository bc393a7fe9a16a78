"""The authentication of calls: credentials in, a `Caller` out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from motet.core.caller import ANONYMOUS, Caller, Role
from motet.core.errors import AccessError, Reason
from motet.core.telemetry.families.access_metrics import AUTHENTICATIONS
from motet.core.telemetry.prometheus import labelled
from motet.transport.access.credentials import Credentials
from motet.transport.access.outcome import Outcome, RefusedError

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

_NO_ROLES: frozenset[Role] = frozenset()
_CERTIFICATE_ROLES: Mapping[str | None, frozenset[Role]] = {
    "orchestrator": frozenset({Role.ORCHESTRATOR}),
    "operator": frozenset({Role.OPERATE}),
    "scaler": frozenset({Role.SCALE}),
    **dict.fromkeys(("encoder", "llm", "decoder"), _NO_ROLES),
}
"""The roles of a caller by the role in its certificate. A worker calls no other service."""

_TENANT_ROLES = frozenset({Role.GENERATE, Role.READ})

_LOG = logging.getLogger(__name__)


class Authenticator(Protocol):
    """Authenticates the calls that have one kind of credentials."""

    kind: str
    """The kind of credentials, a label of the metric: bearer, certificate or anonymous."""

    async def authenticate(self, credentials: Credentials) -> Caller | None:
        """Return the caller, or None if the call has no credentials of this kind. Raises `RefusedError`."""
        ...


class Anonymous:
    """Accepts every call as the anonymous caller, who has all roles."""

    kind = "anonymous"

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return `ANONYMOUS`."""
        return ANONYMOUS


class PeerCertificates:
    """Authenticates callers by the client certificate of their connection, which the listener has verified.

    A certificate with a role of Motet is a service or an operator, and belongs to no tenant: an orchestrator names the
    tenant in each request to a worker. With `name_tenants`, the first name in any other certificate is a tenant, which
    may generate and read. Without it, such a certificate gives no permission.
    """

    kind = "certificate"

    def __init__(self, name_tenants: bool = False) -> None:
        self._name_tenants = name_tenants

    async def authenticate(self, credentials: Credentials) -> Caller | None:
        """Return the caller of a certificate, or None if the certificate names no caller. Raises `RefusedError`."""
        role = credentials.peer.role
        if role in _CERTIFICATE_ROLES:
            return Caller("", _CERTIFICATE_ROLES[role], credential=f"certificate {role}")
        name = next(iter(credentials.peer.identities), "")
        if not (self._name_tenants and name):
            return None
        try:
            return Caller(name, _TENANT_ROLES, credential="certificate")
        except ValueError:
            raise RefusedError(Outcome.CLAIMS, "certificate") from None


class Authentication:
    """Authenticators in the order in which they see a call. The first that returns a caller, or refuses, decides.

    If certificates are among them, a call whose connection has an expired certificate is refused first.
    """

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)
        self._has_certificates = any(isinstance(each, PeerCertificates) for each in authenticators)

    @property
    def accepts_anyone(self) -> bool:
        """True if a call without credentials is accepted."""
        return any(isinstance(each, Anonymous) for each in self._authenticators)

    async def caller_of(self, context: _Context, again: bool = False) -> Caller:
        """Return the caller of a call. Raises `AccessError`, which is the same for all credentials that are refused.

        The outcome is counted, except the acceptance of a call that is authenticated `again`.
        """
        kind = PeerCertificates.kind
        credentials = Credentials(context)
        try:
            if self._has_certificates:
                credentials.check_certificate()
            for authenticator in self._authenticators:
                kind = authenticator.kind
                caller = await authenticator.authenticate(credentials)
                if caller is not None:
                    if not again:
                        _count(kind, Outcome.ACCEPTED)
                    return caller
        except RefusedError as refused:
            _count(kind, refused.outcome)
            # Revoked, expired and unknown credentials differ only here. A caller could learn from a difference.
            _LOG.warning("credentials were refused", extra={"outcome": refused.outcome, "key": refused.credential})
            raise AccessError(
                "the credentials are not valid; check them, or request new ones from the operator",
                Reason.CREDENTIALS_INVALID,
            ) from None
        _count("none", Outcome.MISSING)
        raise AccessError(
            "the call has no credentials; send an API key or a token as the metadata 'authorization: Bearer ...'",
            Reason.CREDENTIALS_MISSING,
        )


ANYONE = Authentication([Anonymous()])
"""The authentication of a process without configured credentials."""


def _count(kind: str, outcome: Outcome) -> None:
    labelled(AUTHENTICATIONS, kind, outcome).inc()
