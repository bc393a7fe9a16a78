"""The claims of a token that name the tenant and the permissions of its caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from motet.core.caller import QUOTA_CLASS, Caller, Role
from motet.core.request import PRIORITIES

ROLE_PREFIX = "motet:"
"""The beginning of each role in a token, such as `motet:generate`. Other applications may use the same claim."""

MAX_NAMES = 256
"""Maximum number of models, and of modalities, in a claim."""

MAX_NAME_LENGTH = 128
"""Maximum number of characters in the name of a model or of a modality."""

_ROLES = {f"{ROLE_PREFIX}{role}": role for role in (Role.GENERATE, Role.READ, Role.OPERATE)}
_PRIORITIES = {str(priority): priority for priority in PRIORITIES}
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])+)+")
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """The names of the claims that give permissions, and the permissions of tokens without these claims.

    A name is that of a claim, such as `scope` or `https://example.org/models`, or the JSON Pointer (RFC 6901) of a
    nested value, such as `/realm_access/roles`. Lists are JSON lists, or texts with spaces. A priority may be a text,
    because some providers write all values as texts.
    """

    tenant: str = "sub"
    roles: str = "scope"
    models: str = "motet_models"
    modalities: str = "motet_modalities"
    max_priority: str = "motet_max_priority"
    quota_class: str = "motet_quota_class"
    default_models: frozenset[str] | None = None
    default_modalities: frozenset[str] | None = None
    default_max_priority: int = PRIORITIES[-1]
    default_quota_class: str = ""

    def caller_of(self, claims: Mapping[str, Any]) -> Caller:
        """Return the caller of verified claims.

        Raises `ValueError` for a token without a tenant, and for a claim that is present and malformed, because it
        might have restricted the caller.
        """
        return Caller(
            _tenant_of(_find(claims, self.tenant)),
            _roles_of(_find(claims, self.roles)),
            self.default_models if (models := _find(claims, self.models)) is _ABSENT else _names_of(models),
            self.default_modalities if (names := _find(claims, self.modalities)) is _ABSENT else _names_of(names),
            self.default_max_priority if (top := _find(claims, self.max_priority)) is _ABSENT else _priority_of(top),
            float(claims["exp"]),
            "token",
            self.default_quota_class if (name := _find(claims, self.quota_class)) is _ABSENT else _class_of(name),
        )


DEFAULT_CLAIMS = TokenClaims()


def check_claim_name(name: str) -> str:
    """Return the name of a claim. Raises `ValueError` for a text that begins with a slash and is no JSON Pointer."""
    if name.startswith("/") and not _POINTER.fullmatch(name):
        raise ValueError("write the path of a nested claim as a JSON Pointer, such as /realm_access/roles")
    return name


def _find(claims: Mapping[str, Any], name: str) -> Any:
    """Return the value of a claim, or `_ABSENT`. Raises `ValueError` if a part of its path is no object."""
    if not name.startswith("/"):
        return claims.get(name, _ABSENT)
    value: Any = claims
    for part in name[1:].split("/"):
        if not isinstance(value, Mapping):
            raise ValueError("a claim on the path is no object")
        value = value.get(part.replace("~1", "/").replace("~0", "~"), _ABSENT)
        if value is _ABSENT:
            break
    return value


def _tenant_of(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the tenant is no text")
    return value


def _roles_of(value: Any) -> frozenset[Role]:
    """Return the roles in a claim. Other values, which may be of other applications, give no role."""
    values = value.split() if isinstance(value, str) else value if isinstance(value, list) else ()
    return frozenset(_ROLES[each] for each in values if isinstance(each, str) and each in _ROLES)


def _names_of(value: Any) -> frozenset[str]:
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > MAX_NAMES or not all(map(_is_name, names)):
        raise ValueError("the names are no list of texts")
    return frozenset(names)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable()


def _priority_of(value: Any) -> int:
    priority = _PRIORITIES.get(value) if isinstance(value, str) else value
    # True is an integer, too.
    if type(priority) is not int or priority not in PRIORITIES:
        raise ValueError("the priority is no number in the range")
    return priority


def _class_of(value: Any) -> str:
    if not isinstance(value, str) or not value or not re.fullmatch(QUOTA_CLASS, value):
        raise ValueError("the quota class is no name")
    return value
