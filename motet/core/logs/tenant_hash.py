"""The form of a tenant's name in log lines."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256


@lru_cache(maxsize=1024)
def tenant_hash(tenant: str) -> str:
    """Return 12 hex digits that are the same in every process, or "" without a tenant.

    They connect the lines of a tenant without its name. They do not keep a name secret that can be guessed.
    """
    return sha256(f"motet tenant {tenant}".encode(errors="replace")).hexdigest()[:12] if tenant else ""
