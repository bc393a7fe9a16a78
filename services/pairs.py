"""Options of the form KEY=NUMBER, such as `--steps shape=20`, as mapping fields of a pydantic model."""

from __future__ import annotations

from pydantic import BeforeValidator, ValidationInfo


def pairs(form: str, whole: bool = True) -> BeforeValidator:
    """Return a validator that turns a list of KEY=NUMBER strings into a mapping. A mapping passes unchanged.

    The mapping's values are floats without a fraction if `whole` is set. Error messages show `form`, such as
    MODALITY=NUMBER.
    """

    def mapping(typed: object, info: ValidationInfo) -> object:
        if not isinstance(typed, list | tuple):
            return typed
        option = f"--{(info.field_name or '').replace('_', '-')}"
        numbers = {}
        for pair in typed:
            key, _, text = pair.rpartition("=")
            try:
                number = float(text)
            except ValueError:
                key = ""
            if not key:
                raise ValueError(f"{option} takes {form}, not {pair!r}")
            if whole and not number.is_integer():
                raise ValueError(f"{option} takes a whole number for {key}, not {number}")
            numbers[key] = number
        return numbers

    return BeforeValidator(mapping)
