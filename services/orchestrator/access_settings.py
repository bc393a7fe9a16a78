"""Settings of the callers of an orchestrator: API keys, and tokens of an identity provider."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings

from motet.core.caller import QUOTA_CLASS
from motet.core.request import PRIORITIES
from motet.transport.access.token_claims import DEFAULT_CLAIMS, TokenClaims, check_claim_name
from services.settings import FILE

if TYPE_CHECKING:
    from motet.transport.access.api_keys import ApiKeys
    from motet.transport.access.bearer_tokens import BearerTokens
    from motet.transport.access.json_web_tokens import JsonWebTokens


ClaimName = Annotated[str, Field(min_length=1), AfterValidator(check_claim_name)]
Names = Annotated[frozenset[Annotated[str, Field(min_length=1)]], Field(json_schema_extra={"metavar": "NAME"})]


class AccessSettings(BaseSettings):
    """The credentials that callers of an orchestrator may have, besides certificates."""

    keys: Path | None = Field(
        default=None,
        description="File of API keys, see `motet keys`. With it, every caller needs a key or another credential. "
        "Changes take effect within seconds.",
        json_schema_extra=FILE,
    )
    jwt_issuer: str | None = Field(
        default=None,
        min_length=1,
        description="Issuer of JSON Web Tokens, exactly as in their claim iss. With it, every caller needs a token or "
        "another credential.",
        json_schema_extra={"metavar": "URL"},
    )
    jwt_audience: str | None = Field(
        default=None, min_length=1, description="Audience of JSON Web Tokens: a token without it is refused."
    )
    jwt_keys: str | None = Field(
        default=None,
        min_length=1,
        description="File or https URL of the issuer's public keys, as a JSON Web Key Set.",
        json_schema_extra={"metavar": "FILE|URL"},
    )
    jwt_tenant_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.tenant,
        description="Claim of a token that names the tenant, of at most 64 characters. Write the path of a nested "
        "claim as a JSON Pointer, such as /realm_access/roles.",
    )
    jwt_roles_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.roles,
        description="Claim of a token with the roles motet:generate, motet:read and motet:operate, as a list or as a "
        "text with spaces.",
    )
    jwt_models_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.models,
        description="Claim of a token with the models that it permits, as a list or as a text with spaces.",
    )
    jwt_modalities_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.modalities,
        description="Claim of a token with the modalities that it permits, as a list or as a text with spaces.",
    )
    jwt_max_priority_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.max_priority,
        description=f"Claim of a token with its highest priority, from {PRIORITIES[0]} to {PRIORITIES[-1]}.",
    )
    jwt_quota_class_claim: ClaimName = Field(
        default=DEFAULT_CLAIMS.quota_class, description="Claim of a token that names the class of the tenant's quotas."
    )
    jwt_default_models: Names | None = Field(
        default=None, description="Models that a token without their claim permits. By default, all."
    )
    jwt_default_modalities: Names | None = Field(
        default=None, description="Modalities of media that a token without their claim permits. By default, all."
    )
    jwt_default_max_priority: int = Field(
        default=DEFAULT_CLAIMS.default_max_priority,
        ge=PRIORITIES[0],
        le=PRIORITIES[-1],
        description="Highest priority of a token without its claim.",
    )
    jwt_default_quota_class: str = Field(
        default=DEFAULT_CLAIMS.default_quota_class,
        pattern=QUOTA_CLASS,
        description="Class of the quotas of a token without its claim. By default, the class default.",
    )

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        together = {"--jwt-issuer": self.jwt_issuer, "--jwt-audience": self.jwt_audience, "--jwt-keys": self.jwt_keys}
        missing = [option for option, value in together.items() if value is None]
        if missing and len(missing) < len(together):
            present = next(option for option, value in together.items() if value is not None)
            raise ValueError(f"{present} needs {missing[0]}: set it, too")
        return self

    async def open_bearer_tokens(self, stack: AsyncExitStack) -> BearerTokens | None:
        """Return the authenticator of keys and tokens, or None if none are configured. It is closed with the stack.

        Raises `SettingsError` for a file that is missing or broken, and for a URL whose keys cannot be fetched.
        """
        if self.keys is None and self.jwt_issuer is None:
            return None
        from motet.transport.access.bearer_tokens import BearerTokens

        return BearerTokens(await self._open_keys(stack), await self._open_tokens(stack))

    @property
    def _claims(self) -> TokenClaims:
        return TokenClaims(
            self.jwt_tenant_claim,
            self.jwt_roles_claim,
            self.jwt_models_claim,
            self.jwt_modalities_claim,
            self.jwt_max_priority_claim,
            self.jwt_quota_class_claim,
            self.jwt_default_models,
            self.jwt_default_modalities,
            self.jwt_default_max_priority,
            self.jwt_default_quota_class,
        )

    async def _open_keys(self, stack: AsyncExitStack) -> ApiKeys | None:
        if self.keys is None:
            return None
        from motet.core.files.reloaded_file import ReloadedFile
        from motet.transport.access.api_keys import ApiKeys
        from motet.transport.access.key_records import changes_of, parse_records

        label = str(self.keys)
        file = ReloadedFile(self.keys, lambda data: parse_records(data, label), "keys", describe=changes_of)
        await stack.enter_async_context(file)
        return ApiKeys(lambda: file.current)

    async def _open_tokens(self, stack: AsyncExitStack) -> JsonWebTokens | None:
        if self.jwt_issuer is None or self.jwt_audience is None or self.jwt_keys is None:
            return None
        from motet.core.files.reloaded_file import ReloadedFile
        from motet.transport.access.json_web_keys import FetchedKeys, FileKeys, KeySource, parse_keys
        from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules

        rules = TokenRules(self.jwt_issuer, self.jwt_audience, self._claims)
        label = self.jwt_keys
        if "://" in label:
            fetched: KeySource = await stack.enter_async_context(await asyncio.to_thread(FetchedKeys, label))
            return JsonWebTokens(rules, fetched)
        file = await stack.enter_async_context(ReloadedFile(Path(label), lambda data: parse_keys(data, label), "jwks"))
        return JsonWebTokens(rules, FileKeys(file))
