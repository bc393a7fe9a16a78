"""API keys, and servers that require them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from motet.core.caller import Role
from motet.transport.access.api_keys import ApiKeys
from motet.transport.access.authentication import Authentication, PeerCertificates
from motet.transport.access.bearer_tokens import BearerTokens
from motet.transport.access.key_records import KeyRecord
from motet.transport.access.new_key import new_key

NOW = datetime.now(UTC)
PEOPLE = (Role.GENERATE, Role.READ, Role.OPERATE)


@dataclass
class KeyRing:
    """Keys of several tenants, and the records that a server has of them."""

    records: dict[str, KeyRecord] = field(default_factory=dict)

    def key_of(self, tenant: str, roles: Sequence[str] = PEOPLE, **permissions: Any) -> str:
        """Return a new key of a tenant."""
        permissions = {"create_time": NOW, **permissions}
        key, record = new_key(tenant=tenant, roles=list(roles), **permissions)
        self.records[record.id] = record
        return key

    def expired(self) -> str:
        """Return a key that has expired."""
        return self.key_of("late", expire_time=NOW - timedelta(seconds=1))

    def revoked(self) -> str:
        """Return a key that was revoked."""
        return self.key_of("gone", revoke_time=NOW)

    def authentication(self, tokens: Any = None) -> Authentication:
        """Return the authentication of a server that accepts the keys."""
        return Authentication([BearerTokens(ApiKeys(lambda: self.records), tokens), PeerCertificates()])


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call with a bearer token."""
    return (("authorization", f"Bearer {token}"),)
