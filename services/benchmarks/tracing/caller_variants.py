"""Orchestrators of the same workers that differ in the credentials of their callers, and in their log lines."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from motet.client import Client
from motet.transport.access.key_file import add_record
from motet.transport.access.new_key import new_key
from services.benchmarks.tracing.deployment import RecordedDeployment

_ISSUER, _AUDIENCE, _KEY_ID = "https://issuer.example", "motet", "benchmark"
_LIFETIME = 86_400
"""Lifetime of a token, in seconds."""

API_KEY, TOKEN, LOG_LINES = "API key", "token", "log lines"


@asynccontextmanager
async def caller_variants(
    deployment: RecordedDeployment, folder: Path
) -> AsyncIterator[Mapping[str, tuple[RecordedDeployment, Client]]]:
    """Yield the deployment with an orchestrator of each variant, and a client of it. Keys are files in the folder."""
    key, record = new_key(tenant="benchmark", roles=["generate", "read"], create_time=datetime.now(UTC))
    keys = folder / "variants.jsonl"
    add_record(keys, record)
    token, token_keys = _new_token(folder / "token-keys.json")
    tokens = ("--jwt-issuer", _ISSUER, "--jwt-audience", _AUDIENCE, "--jwt-keys", str(token_keys))
    async with AsyncExitStack() as stack:

        async def variant(
            *options: str, authorization: str = "", log_level: str = "error"
        ) -> tuple[RecordedDeployment, Client]:
            context = deployment.with_orchestrator(*options, log_level=log_level)
            changed = await stack.enter_async_context(context)
            metadata = {"authorization": f"Bearer {authorization}"} if authorization else {}
            client = Client(changed.orchestrator, api_key="", metadata=metadata)
            return changed, await stack.enter_async_context(client)

        yield {
            API_KEY: await variant("--keys", str(keys), authorization=key),
            TOKEN: await variant(*tokens, authorization=token),
            LOG_LINES: await variant(log_level="info"),
        }


def _new_token(path: Path) -> tuple[str, Path]:
    """Return a JSON Web Token, and the file of the public keys of its issuer."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    path.write_text(json.dumps({"keys": [public | {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}]}))
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "exp": time.time() + _LIFETIME,
        "sub": "benchmark",
        "scope": "motet:generate motet:read",
    }
    return jwt.encode(claims, private, "RS256", {"kid": _KEY_ID}), path
