"""The caller of a method: the tenant that its work belongs to, and the permissions of its credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from motet.core.events import TEXT
from motet.core.request import PRIORITIES

QUOTA_CLASS = r"^([a-z0-9][a-z0-9-]{0,31})?$"
"""Pattern of the name of a quota class. The empty name is the default class."""

MAX_TENANT_LENGTH = 64
"""Maximum number of characters in a tenant's name."""


class Role(StrEnum):
    """A set of methods for callers. `motet.transport.access.authorization` lists the roles of each method."""

    GENERATE = "generate"
    """Start and cancel generations, upload and delete artifacts."""
    READ = "read"
    """Read the generations and artifacts of the caller's own tenant."""
    OPERATE = "operate"
    """Drain workers and read their load."""
    ORCHESTRATOR = "orchestrator"
    """Call workers for all tenants. Only a service has this role, never a person's key."""
    SCALE = "scale"
    """Read the demand of the pools of workers. Only a service has this role, never a person's key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller, or `ANONYMOUS`.

    Everything that a caller creates belongs to `tenant`. `models` and `modalities` are the models and the media that
    the caller may request; None permits all of them, and text is always permitted. A priority above `max_priority` is
    lowered to it. `expire_time` is the end of the credentials in seconds since the epoch, or None. `credential` names
    the credentials in the operator's log, such as the id of a key. It is never a secret. `quota_class` names the limits
    of the tenant; "" is the default class.

    Raises `ValueError` for a tenant's name that is too long or has a character that cannot be printed, and for a
    priority or a quota class that does not exist.
    """

    tenant: str
    roles: frozenset[Role]
    models: frozenset[str] | None = None
    modalities: frozenset[str] | None = None
    max_priority: int = PRIORITIES[-1]
    expire_time: float | None = None
    credential: str = ""
    quota_class: str = ""

    def __post_init__(self) -> None:
        check_tenant(self.tenant)
        if self.max_priority not in PRIORITIES:
            raise ValueError(f"the highest priority must be from {PRIORITIES[0]} to {PRIORITIES[-1]}")
        if not re.fullmatch(QUOTA_CLASS, self.quota_class):
            raise ValueError(f"{self.quota_class!r} is no name of a quota class: use at most 32 of a-z, 0-9 and -")

    def may_use_model(self, name: str) -> bool:
        """Return whether the caller may use a model."""
        return self.models is None or name in self.models

    def may_request(self, modality: str) -> bool:
        """Return whether the caller may request parts of a modality."""
        return modality == TEXT or self.modalities is None or modality in self.modalities


def check_tenant(name: str) -> None:
    """Raise `ValueError` for a text that cannot name a tenant. The empty name is the anonymous tenant."""
    if len(name) > MAX_TENANT_LENGTH:
        raise ValueError(f"a tenant's name may have at most {MAX_TENANT_LENGTH} characters, not {len(name)}")
    if not name.isprintable():
        raise ValueError("a tenant's name may have only characters that can be printed")


ANONYMOUS = Caller("", frozenset(Role))
"""The caller of a process without configured authentication, and of an embedded Motet. It has all roles."""
