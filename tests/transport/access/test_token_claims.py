"""Tests of the permissions in the claims of a token: their forms at several providers, and hostile shapes."""

from __future__ import annotations

from typing import Any

import pytest

from motet.core.caller import Role
from motet.core.errors import SettingsError
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.access.outcome import Outcome, RefusedError
from motet.transport.access.token_claims import MAX_NAME_LENGTH, MAX_NAMES, TokenClaims, check_claim_name
from services.orchestrator.settings import OrchestratorServiceSettings
from services.settings import settings_of
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider, ProviderKeys

PROVIDER = Provider()
NAMESPACE = "https://motet.example/"


def tokens_of(**claims: Any) -> JsonWebTokens:
    return JsonWebTokens(TokenRules(ISSUER, AUDIENCE, TokenClaims(**claims)), ProviderKeys(PROVIDER))


TOKENS = tokens_of()


async def test_a_token_has_the_permissions_in_its_claims() -> None:
    token = PROVIDER.token(
        motet_models=["nano"], motet_modalities=["image", "audio"], motet_max_priority=-1, motet_quota_class="batch"
    )

    caller = await TOKENS.caller_of(token)

    assert (caller.models, caller.modalities) == ({"nano"}, {"image", "audio"})
    assert (caller.max_priority, caller.quota_class) == (-1, "batch")


async def test_a_token_without_the_claims_has_the_operators_defaults() -> None:
    free = await TOKENS.caller_of(PROVIDER.token())
    limited = await tokens_of(
        default_models=frozenset({"nano"}),
        default_modalities=frozenset(),
        default_max_priority=0,
        default_quota_class="guests",
    ).caller_of(PROVIDER.token())

    assert (free.models, free.modalities, free.max_priority, free.quota_class) == (None, None, 2, "")
    assert (limited.models, limited.modalities) == ({"nano"}, set())
    assert (limited.max_priority, limited.quota_class) == (0, "guests")


PROVIDERS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "nested roles and attributes (Keycloak)": (
        {"roles": "/realm_access/roles", "models": "/motet/models", "max_priority": "/motet/max_priority"},
        {
            "realm_access": {"roles": ["offline_access", "motet:read"]},
            "motet": {"models": ["nano"], "max_priority": "1"},
        },
    ),
    "names that are URLs (Auth0)": (
        {"roles": f"{NAMESPACE}roles", "models": f"{NAMESPACE}models", "max_priority": f"{NAMESPACE}priority"},
        {f"{NAMESPACE}roles": ["motet:read"], f"{NAMESPACE}models": ["nano"], f"{NAMESPACE}priority": 1},
    ),
    "URLs with nested values": (
        {name: f"/{NAMESPACE.replace('/', '~1')}/{name}" for name in ("roles", "models", "max_priority")},
        {NAMESPACE: {"roles": "motet:read", "models": "nano", "max_priority": 1}},
    ),
    "application roles and extensions (Entra)": (
        {"roles": "roles", "models": "extn.motetModels", "max_priority": "extension_1234_priority"},
        {"roles": ["motet:read"], "extn.motetModels": ["nano"], "extension_1234_priority": "1"},
    ),
    "prefixes with a colon, and texts only (Cognito)": (
        {"roles": "cognito:groups", "models": "custom:models", "max_priority": "custom:priority"},
        {"cognito:groups": ["motet:read"], "custom:models": "nano", "custom:priority": "1"},
    ),
    "a name with a tilde": (
        {"roles": "/a~0b/c", "models": "/a~0b/models", "max_priority": "/a~0b/~01"},
        {"a~b": {"c": ["motet:read"], "models": ["nano"], "~1": 1}},
    ),
}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_claims_of_each_kind_of_provider_are_found(provider: str) -> None:
    names, claims = PROVIDERS[provider]

    caller = await tokens_of(**names).caller_of(PROVIDER.token(scope=None, **claims))

    assert (caller.roles, caller.models, caller.max_priority) == ({Role.READ}, {"nano"}, 1)


def nested(depth: int) -> Any:
    value: Any = "nano"
    for _ in range(depth):
        value = [value]
    return value


NO_NAMES = [None, 7, True, 1.5, {}, {"nano": True}, [7], [None], [["nano"]], [""], ["a\nb"], ["x" * 129], nested(300)]
MALFORMED: list[tuple[str, Any]] = [
    *((claim, value) for claim in ("motet_models", "motet_modalities") for value in NO_NAMES),
    ("motet_models", [str(number) for number in range(MAX_NAMES + 1)]),
    ("motet_models", " ".join(map(str, range(MAX_NAMES + 1)))),
    *(
        ("motet_max_priority", value)
        for value in (
            None,
            -3,
            3,
            10**30,
            1.0,
            True,
            "3",
            "-3",
            " 1",
            "1.0",
            "+1",
            "\uff11",
            "one",
            "",
            [1],
            {"value": 1},
        )
    ),
    *(
        ("motet_quota_class", value)
        for value in (None, "", 7, True, ["batch"], {}, "Batch", "a b", "batch\n", "x" * 33, "../batch", "bätch")
    ),
]


@pytest.mark.parametrize(("claim", "value"), MALFORMED)
async def test_a_malformed_claim_refuses_the_token_and_never_widens_its_rights(claim: str, value: Any) -> None:
    # `Provider.token` leaves None out, so it is written inside an object.
    tokens = tokens_of(**{claim.removeprefix("motet_"): f"/permissions/{claim}"})

    with pytest.raises(RefusedError) as caught:
        await tokens.caller_of(PROVIDER.token(permissions={claim: value}))

    assert caught.value.outcome is Outcome.CLAIMS


@pytest.mark.parametrize("value", ["text", 7, None, ["models"], [{"models": ["nano"]}]])
async def test_a_path_through_a_value_that_is_no_object_refuses_the_token(value: Any) -> None:
    with pytest.raises(RefusedError):
        await tokens_of(models="/a/motet/models").caller_of(PROVIDER.token(a={"motet": value}))
    assert (await tokens_of(models="/a/motet/models").caller_of(PROVIDER.token(a={"other": value}))).models is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([], set()),
        ("", set()),
        (["nano", "nano"], {"nano"}),
        (" nano  next\t", {"nano", "next"}),
        ("nano,next", {"nano,next"}),
        (["*"], {"*"}),
        (["x" * MAX_NAME_LENGTH], {"x" * MAX_NAME_LENGTH}),
    ],
)
async def test_a_list_permits_its_names_and_no_others(value: Any, names: set[str]) -> None:
    caller = await TOKENS.caller_of(PROVIDER.token(motet_models=value, motet_modalities=value))

    assert (caller.models, caller.modalities) == (names, names)


async def test_the_tenant_may_be_a_nested_claim() -> None:
    tokens = tokens_of(tenant="/org/id")
    assert (await tokens.caller_of(PROVIDER.token(org={"id": "umbrella"}))).tenant == "umbrella"
    for org in ({}, {"id": ""}, {"id": ["umbrella"]}, {"id": None}, "umbrella"):
        with pytest.raises(RefusedError):
            await tokens.caller_of(PROVIDER.token(org=org))


@pytest.mark.parametrize("name", ["/", "/a/", "//a", "/a~", "/a~2b"])
def test_a_path_that_is_no_json_pointer_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match="JSON Pointer"):
        check_claim_name(name)
    with pytest.raises(SettingsError, match="JSON Pointer"):
        settings_of(OrchestratorServiceSettings, {"jwt_models_claim": name})


def test_the_settings_name_the_claims_and_the_defaults() -> None:
    options = {
        "jwt_models_claim": "/motet/models",
        "jwt_modalities_claim": f"{NAMESPACE}media",
        "jwt_max_priority_claim": "p",
        "jwt_quota_class_claim": "q",
        "jwt_default_models": ["nano"],
        "jwt_default_modalities": [],
        "jwt_default_max_priority": 0,
        "jwt_default_quota_class": "guests",
    }

    assert settings_of(OrchestratorServiceSettings, options)._claims == TokenClaims(
        models="/motet/models",
        modalities=f"{NAMESPACE}media",
        max_priority="p",
        quota_class="q",
        default_models=frozenset({"nano"}),
        default_modalities=frozenset(),
        default_max_priority=0,
        default_quota_class="guests",
    )


@pytest.mark.parametrize("option", ["jwt_default_max_priority", "jwt_default_quota_class", "jwt_default_models"])
def test_a_default_that_no_caller_may_have_is_refused(option: str) -> None:
    value: Any = {"jwt_default_max_priority": 3, "jwt_default_quota_class": "Big", "jwt_default_models": [""]}[option]
    with pytest.raises(SettingsError, match=option):
        settings_of(OrchestratorServiceSettings, {option: value})
