"""The kinds of services."""

from __future__ import annotations

from enum import StrEnum


class ServiceKind(StrEnum):
    """The kind of a service. It is the value of the label `component`."""

    ORCHESTRATOR = "orchestrator"
    ENCODER = "encoder"
    LANGUAGE_MODEL = "llm"
    DECODER = "decoder"
