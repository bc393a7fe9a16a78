"""Rules for the fields of model configs. A model that would compute something else is refused, never approximated.

A config may contain only fields whose values are implemented. A field without a rule must have its default value.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from motet.core.errors import BundleError

T = TypeVar("T")

_MAX_FLOAT = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Rule:
    """The implemented values of a field. `expected` names them for people."""

    expected: str
    accepts: Callable[[Any], bool]


ANY = Rule("any value", lambda value: True)
"""The rule of a field that has no influence on the results, or only a valid one."""
BOOLEAN = Rule("true or false", lambda value: isinstance(value, bool))
NUMBER = Rule("a finite number", lambda value: _is_number(value))
POSITIVE = Rule("a positive number", lambda value: _is_number(value) and value > 0)


def one_of(*values: Any) -> Rule:
    """Return the rule for a field that must have one of the values."""
    return Rule(" or ".join(map(_spelling, values)), lambda value: any(_equal(value, each) for each in values))


def integer(low: int, high: int) -> Rule:
    """Return the rule for an integer in a range, bounds included."""
    return Rule(f"an integer from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def whole(low: int, high: int) -> Rule:
    """Return the rule for a number without a fraction in a range, bounds included. It may be a float."""
    return Rule(f"a whole number from {low} to {high}", lambda value: low <= value <= high and value % 1 == 0)


def list_of(rule: Rule, longest: int = 16) -> Rule:
    """Return the rule for a list of 1 to `longest` values."""

    def accepts(value: Any) -> bool:
        return isinstance(value, (list, tuple)) and 0 < len(value) <= longest and all(map(rule.accepts, value))

    return Rule(f"a list of 1 to {longest} values, each {rule.expected}", accepts)


def either(*rules: Rule) -> Rule:
    """Return the rule for a field that must follow one of the rules."""
    expected = ", or ".join(rule.expected for rule in rules)
    return Rule(expected, lambda value: any(rule.accepts(value) for rule in rules))


def check_fields(
    label: str, config: Mapping[str, Any], rules: Mapping[str, Rule], defaults: Mapping[str, Any] | None = None
) -> None:
    """Check all fields of a config. Raises `BundleError`, which names the file, the field, and both values.

    A field without a rule must have its value in `defaults`. Without `defaults` it must be off: null, false or empty. A
    missing field has its default value or else null, and its rule applies to that value.
    """
    known = defaults or {}
    missing = {key: known.get(key) for key in rules if key not in config}
    for key, value in {**missing, **config}.items():
        rule = rules.get(key)
        if rule is None and defaults is None:
            rule = _OFF
        elif rule is None:
            rule = one_of(known[key]) if key in known else _ABSENT
        check_field(label, key, value, rule)


def check_field(label: str, key: str, value: Any, rule: Rule) -> None:
    """Check one field of a config. Raises `BundleError`, which names the file, the field, and both values."""
    if not rule.accepts(value):
        raise BundleError(
            f"{label}: {printable(key)} must be {rule.expected}, not {_spelling(value)}: "
            "other values are not implemented"
        )


def parse_config(cls: type[T], values: Mapping[str, Any], label: str) -> T:
    """Return the dataclass that a config describes. Raises `BundleError`, which names the file and the field."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = printable(".".join(map(str, first["loc"])))
        raise BundleError(
            f"{label}: {field or 'the config'}: {first['msg']}, not {_spelling(first['input'])}"
        ) from error


def printable(name: str) -> str:
    """Return a name from a file, which may contain any characters, as at most 100 characters of ASCII."""
    return name.encode("unicode_escape").decode()[:100]


def _is_number(value: Any) -> bool:
    # An integer of hundreds of digits has no float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_MAX_FLOAT <= value <= _MAX_FLOAT


def _equal(value: Any, expected: Any) -> bool:
    """Compare values of a JSON document, where a tuple is a list and true is not 1."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(_equal, value, expected))
    return bool(value == expected)


def _spelling(value: Any) -> str:
    """Return a value as JSON, of at most 100 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


_OFF = Rule("null, false or empty", lambda value: value is None or value is False or value in ("", [], {}))
_ABSENT = Rule("absent", lambda value: False)
