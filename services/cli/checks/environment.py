"""The names of all environment variables that Motet reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import get_origin

from motet.core.errors import SettingsError
from motet.core.files.field_errors import nearest_name
from services.decoder.settings import DecoderSettings
from services.encoder.settings import EncoderSettings
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import ServiceSettings, settings_of

PREFIX = "MOTET_"

SERVICE_SETTINGS: tuple[type[ServiceSettings], ...] = (
    EncoderSettings,
    LanguageModelSettings,
    DecoderSettings,
    OrchestratorServiceSettings,
)
"""The settings of each kind of service."""

OTHER_VARIABLES: Mapping[str, str] = {
    "MOTET_SERVER": "Address of an orchestrator, for the Python client and for `run`, `chat` and `models`.",
    "MOTET_API_KEY": "API key of the caller, for the same programs.",
    "MOTET_KEY_FILE": "File that holds the API key, for `run`, `chat` and `models`.",
    "MOTET_PROXY": "URL of an HTTP proxy to a remote orchestrator, for the same programs.",
    "MOTET_EMOJI": "Folder of the emoji packages, for the training of the nano bundle.",
}
"""The name and the description of each variable that is not a setting of a service."""

# Kubernetes and Docker add variables about each service, such as MOTET_ENCODER_PORT_50051_TCP_ADDR for a service with
# the name "motet-encoder".
_SERVICE_LINK = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINK_URL = re.compile(r"(tcp|udp|sctp)://")


def known_names() -> frozenset[str]:
    """Return the name of each variable that Motet reads."""
    return frozenset(OTHER_VARIABLES) | {
        f"{PREFIX}{name.upper()}" for kind in SERVICE_SETTINGS for name in kind.model_fields
    }


def _mappings() -> frozenset[str]:
    """Return the name of each variable that a mapping has, whose keys may be variables of their own."""
    fields = {name: field for kind in SERVICE_SETTINGS for name, field in kind.model_fields.items()}
    return frozenset(
        f"{PREFIX}{name.upper()}" for name, field in fields.items() if get_origin(field.annotation) is dict
    )


def check_environment(environment: Mapping[str, str]) -> None:
    """Raise `SettingsError` for the first variable that begins with `MOTET_` and that Motet does not read."""
    known = known_names()
    for name, value in environment.items():
        # Pydantic reads the variables of a mapping, such as MOTET_DECODERS__SHAPE, and ignores case.
        typed, nested, _ = name.upper().partition("__")
        is_known = typed in (_mappings() if nested else known)
        if not typed.startswith(PREFIX) or is_known or _is_service_link(name, value):
            continue
        raise SettingsError(f"there is no setting {name}{_suggestion(typed, known)}")


def check_service_settings() -> None:
    """Raise `SettingsError` if the environment has a wrong setting of any service."""
    for kind in SERVICE_SETTINGS:
        # Each service gets the settings without a default as options.
        settings_of(kind, {name: "" for name, field in kind.model_fields.items() if field.is_required()})


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name)) or (name.endswith("_PORT") and bool(_LINK_URL.match(value)))


def _suggestion(name: str, known: Iterable[str]) -> str:
    nearest = nearest_name(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in known])
    return f": the nearest name is {PREFIX}{nearest}; correct it or unset it" if nearest else "; unset it"
