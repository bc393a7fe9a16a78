"""Tests of tokens of an identity provider: valid ones, and attacks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from motet.core.caller import Role
from motet.core.errors import SettingsError
from motet.core.files.reloaded_file import ReloadedFile
from motet.transport.access.json_web_keys import FetchedKeys, FileKeys, check_url, parse_keys
from motet.transport.access.json_web_tokens import JsonWebTokens, TokenRules
from motet.transport.access.outcome import Outcome, RefusedError
from motet.transport.access.token_claims import TokenClaims
from tests.transport.access.provider import AUDIENCE, ISSUER, Provider
from tests.waiting import until

RULES = TokenRules(ISSUER, AUDIENCE)


class Keys:
    """The keys of a provider, and the ids that were looked up."""

    def __init__(self, provider: Provider) -> None:
        self.keys = parse_keys(provider.key_set(), "keys")

    async def find(self, key_id: str) -> Any:
        return self.keys.get(key_id)


PROVIDER = Provider()
TOKENS = JsonWebTokens(RULES, Keys(PROVIDER))


def encoded(value: Any) -> str:
    """Return a value as base64url of its JSON."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def resigned(token: str, header: dict[str, Any], key: bytes) -> str:
    """Return the token with another header, signed with HMAC-SHA256."""
    content = f"{encoded(header)}.{token.split('.')[1]}"
    signature = hmac.digest(key, content.encode(), hashlib.sha256)
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


PUBLIC = PROVIDER.keys["k1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
STRANGER = Provider()
VALID = PROVIDER.token()

ATTACKS: dict[str, tuple[str, Outcome]] = {
    "no signature": (f"{encoded({'alg': 'none', 'kid': 'k1'})}.{VALID.split('.')[1]}.", Outcome.ALGORITHM),
    "an algorithm that is a list": (f"{encoded({'alg': ['ES256'], 'kid': 'k1'})}.e30.e30", Outcome.ALGORITHM),
    "the public key as an HMAC key": (resigned(VALID, {"alg": "HS256", "kid": "k1"}, PUBLIC), Outcome.ALGORITHM),
    "an algorithm of another key": (resigned(VALID, {"alg": "RS256", "kid": "k1"}, PUBLIC), Outcome.ALGORITHM),
    "a signature of another provider": (STRANGER.token(), Outcome.SIGNATURE),
    "altered claims": (".".join([VALID.split(".")[0], encoded({"sub": "x"}), VALID.split(".")[2]]), Outcome.SIGNATURE),
    "an unknown key": (Provider({"k9": PROVIDER.keys["k1"]}).token("k9"), Outcome.UNKNOWN_KEY),
    "no key id": (PROVIDER.token(headers={"kid": None}), Outcome.UNKNOWN_KEY),
    "another issuer": (PROVIDER.token(iss="https://other.example"), Outcome.CLAIMS),
    "another audience": (PROVIDER.token(aud="other"), Outcome.CLAIMS),
    "no audience": (PROVIDER.token(aud=None), Outcome.CLAIMS),
    "no issuer": (PROVIDER.token(iss=None), Outcome.CLAIMS),
    "no expiry": (PROVIDER.token(exp=None), Outcome.CLAIMS),
    "an expiry that is a word": (PROVIDER.token(exp="never"), Outcome.CLAIMS),
    "an expiry without end": (PROVIDER.token(exp=float("inf")), Outcome.CLAIMS),
    "an expired token": (PROVIDER.token(exp=time.time() - 3600), Outcome.EXPIRED),
    "a token of the future": (PROVIDER.token(nbf=time.time() + 43_200), Outcome.CLAIMS),
    "no tenant": (PROVIDER.token(sub=None), Outcome.CLAIMS),
    "an empty tenant": (PROVIDER.token(sub=""), Outcome.CLAIMS),
    "a long tenant": (PROVIDER.token(sub="x" * 65), Outcome.CLAIMS),
    "a tenant of two lines": (PROVIDER.token(sub="a\nb"), Outcome.CLAIMS),
    "a tenant that is a number": (PROVIDER.token(sub=7), Outcome.CLAIMS),
    "a critical extension": (PROVIDER.token(headers={"crit": ["b64"], "b64": False}), Outcome.ALGORITHM),
    "no token": ("a.b.c", Outcome.MALFORMED),
    "one part": ("x" * 8000, Outcome.MALFORMED),
    "many dots": ("." * 8000, Outcome.MALFORMED),
    "deep JSON": (base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30", Outcome.MALFORMED),
    "characters beyond ASCII": ("é.é.é", Outcome.MALFORMED),
}


async def test_a_valid_token_names_the_tenant_the_roles_and_the_end() -> None:
    caller = await TOKENS.caller_of(VALID)

    assert (caller.tenant, caller.roles) == ("acme", {Role.GENERATE, Role.READ})
    assert caller.expire_time is not None
    assert 0 < caller.expire_time - time.time() <= 86_400


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_is_refused(attack: str) -> None:
    token, outcome = ATTACKS[attack]

    with pytest.raises(RefusedError) as caught:
        await TOKENS.caller_of(token)

    assert caught.value.outcome is outcome


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("motet:operate", {Role.OPERATE}),
        (["motet:generate", "read", 7], {Role.GENERATE}),
        ("motet:orchestrator generate admin", set()),
        ({"motet:generate": True}, set()),
        (None, set()),
    ],
)
async def test_only_the_roles_of_people_count_in_a_claim(claim: Any, roles: set[Role]) -> None:
    assert (await TOKENS.caller_of(PROVIDER.token(scope=claim))).roles == roles


async def test_settings_name_the_claims_of_the_tenant_and_of_the_roles() -> None:
    tokens = JsonWebTokens(TokenRules(ISSUER, AUDIENCE, TokenClaims("org", "groups")), Keys(PROVIDER))

    caller = await tokens.caller_of(PROVIDER.token(org="umbrella", groups=["motet:read"]))

    assert (caller.tenant, caller.roles) == ("umbrella", {Role.READ})


@pytest.mark.parametrize("name", ["jku", "x5u"])
async def test_a_url_in_a_token_is_never_fetched(name: str) -> None:
    async with STRANGER.serving() as url:
        with pytest.raises(RefusedError):
            await TOKENS.caller_of(STRANGER.token(headers={name: url}))
        with pytest.raises(RefusedError):
            await TOKENS.caller_of(STRANGER.token(headers={"jwk": json.loads(STRANGER.key_set())["keys"][0]}))

    assert STRANGER.requests == 0


async def test_the_keys_in_a_file_are_read_again_and_broken_contents_are_not_used(tmp_path: Path) -> None:
    path, provider = tmp_path / "keys.json", Provider()
    path.write_bytes(provider.key_set())
    file = ReloadedFile(path, lambda data: parse_keys(data, str(path)), "jwks")
    tokens = JsonWebTokens(RULES, FileKeys(file))
    old = provider.token()
    assert await tokens.caller_of(old)

    path.write_text("{")
    file.reload()
    assert await tokens.caller_of(old)

    provider.keys = {"k2": ec.generate_private_key(ec.SECP256R1())}
    path.write_bytes(provider.key_set())
    file.reload()
    assert await tokens.caller_of(provider.token("k2"))
    with pytest.raises(RefusedError):
        await tokens.caller_of(old)


async def fetched(url: str, **options: float) -> FetchedKeys:
    return await asyncio.to_thread(partial(FetchedKeys, url, **options))


async def test_an_unknown_key_is_fetched_but_not_too_often() -> None:
    provider = Provider()
    async with provider.serving() as url, await fetched(url, min_interval=0.0) as keys:
        provider.keys["k2"] = ec.generate_private_key(ec.SECP256R1())
        assert await JsonWebTokens(RULES, keys).caller_of(provider.token("k2"))
        assert provider.requests == 2

        provider.broken = True
        assert await keys.find("k3") is None
        assert await keys.find("k1") is not None

    async with provider.serving() as url:
        provider.broken = False
        async with await fetched(url) as keys:
            before = provider.requests
            for number in range(100):
                assert await keys.find(f"unknown {number}") is None
            assert provider.requests == before


async def test_calls_with_unknown_keys_share_one_fetch_and_do_not_wait_for_it_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from motet.transport.access import json_web_keys

    provider = Provider()
    async with provider.serving() as url, await fetched(url, min_interval=0.0) as keys:
        provider.silent.set()
        provider.keys["k2"] = ec.generate_private_key(ec.SECP256R1())
        monkeypatch.setattr(json_web_keys, "_MAX_WAIT", 0.05)
        assert await asyncio.gather(*(keys.find(f"unknown {number}") for number in range(20))) == [None] * 20
        assert await keys.find("k1") is not None
        assert provider.requests == 2

        monkeypatch.setattr(json_web_keys, "_MAX_WAIT", 30)
        waiting = asyncio.create_task(keys.find("k2"))
        await asyncio.sleep(0)
        provider.silent.clear()
        provider.speak.set()
        assert await waiting is not None
        assert provider.requests == 2


async def test_keys_that_arrive_too_slowly_are_not_read_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from motet.transport.access import json_web_keys

    monkeypatch.setattr(json_web_keys, "_TIMEOUT", 0.2)
    provider = Provider(pause=0.05)
    async with provider.serving() as url:
        with pytest.raises(SettingsError, match=r"takes longer than 0\.2 s"):
            await fetched(url)


async def test_the_keys_are_fetched_again_after_the_interval_and_a_failure_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = Provider()
    async with provider.serving() as url, await fetched(url, interval=0.01) as keys:
        provider.broken = True
        await until(lambda: provider.requests > 4)
        assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
        assert await keys.find("k1") is not None

        provider.broken, provider.keys = False, {"k2": ec.generate_private_key(ec.SECP256R1())}
        await until(lambda: "k2" in keys.current)
        assert await keys.find("k1") is None


@pytest.mark.parametrize("path", ["/moved", "/keys"])
async def test_without_keys_at_the_url_nothing_starts(path: str) -> None:
    provider = Provider(broken=path == "/keys")
    async with provider.serving() as url:
        with pytest.raises(SettingsError):
            await fetched(url.replace("/keys", path))

    assert provider.requests == 1


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "file:///etc/passwd", "ftp://127.0.0.1/", "keys", ""])
def test_a_url_that_others_could_answer_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="https"):
        check_url(url)


def test_two_different_keys_with_one_id_are_refused_and_equal_ones_are_not() -> None:
    one, other = (json.loads(Provider().key_set())["keys"][0] for _ in range(2))

    assert parse_keys(json.dumps({"keys": [one, one]}).encode(), "keys").keys() == {"k1"}
    with pytest.raises(SettingsError, match="two different keys with the kid 'k1'"):
        parse_keys(json.dumps({"keys": [one, other]}).encode(), "keys")


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"key_ops": 7}]
)
def test_a_key_that_is_not_for_verifying_is_left_out(change: dict[str, Any]) -> None:
    own, other = (json.loads(Provider().key_set())["keys"][0] for _ in range(2))
    other |= {"kid": "k2"}

    assert parse_keys(json.dumps({"keys": [own, {**other, **change}]}).encode(), "keys").keys() == {"k1"}


def test_a_url_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError, match="remove it") as caught:
        check_url("https://user:secret@issuer.example/keys")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "k"}]}',
        b'{"keys": [{"kty": "RSA", "kid": "k"}, 7, null, {"kid": []}]}',
        b'{"keys": [' + b"[" * 10_000 + b"]}",
    ],
)
def test_a_key_set_without_a_public_key_is_refused(data: bytes) -> None:
    with pytest.raises(SettingsError):
        parse_keys(data, "keys")


async def test_a_token_is_verified_again_once_its_key_was_replaced() -> None:
    provider = Provider()
    keys = Keys(provider)
    tokens = JsonWebTokens(RULES, keys)
    token = provider.token()
    caller = await tokens.caller_of(token)
    assert await tokens.caller_of(token) is caller, "it was verified before"

    keys.keys = parse_keys(provider.key_set(), "keys")
    assert await tokens.caller_of(token) is not caller
    provider.keys["k1"] = ec.generate_private_key(ec.SECP256R1())
    keys.keys = parse_keys(provider.key_set(), "keys")
    with pytest.raises(RefusedError) as replaced:
        await tokens.caller_of(token)
    keys.keys = {}
    with pytest.raises(RefusedError) as withdrawn:
        await tokens.caller_of(token)

    assert replaced.value.outcome is Outcome.SIGNATURE
    assert withdrawn.value.outcome is Outcome.UNKNOWN_KEY


async def test_a_token_is_verified_again_once_it_may_have_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = JsonWebTokens(RULES, Keys(PROVIDER))
    caller = await tokens.caller_of(VALID)
    expired = time.time() + 86_400 + RULES.leeway
    monkeypatch.setattr(time, "time", lambda: expired)

    assert await tokens.caller_of(VALID) is not caller, "the library has its own clock, so the token is still valid"


async def test_a_token_with_another_signature_is_not_taken_for_a_verified_one() -> None:
    tokens = JsonWebTokens(RULES, Keys(PROVIDER))
    await tokens.caller_of(VALID)
    content, _, signature = VALID.rpartition(".")

    with pytest.raises(RefusedError) as caught:
        await tokens.caller_of(f"{content}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}")
    assert caught.value.outcome is Outcome.SIGNATURE
