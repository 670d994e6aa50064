"""Tokens of an identity provider, good and bad."""

import base64
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bertwire_core.errors import UserError
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.identity import Limits
from bertwire_server.access.setup import open_access
from bertwire_server.access.tokens import TokenRules, Tokens, read_tokens
from bertwire_server.errors import Unauthenticated
from gated import LOAD, gated, who

PRIVATE: dict[str, Any] = {
    "RS256": new_rsa(65537, 2048),
    "ES256": new_ec(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate(),
}
TO_JWK: dict[str, Any] = {"RS256": RSAAlgorithm.to_jwk, "ES256": ECAlgorithm.to_jwk, "EdDSA": OKPAlgorithm.to_jwk}
RULES = TokenRules("https://issuer.example", "bertwire", 30.0, Limits())
WEAK = new_rsa(65537, 1024)  # noqa: S505 - is to be refused
END = 4_000_000_000
CLAIMS = {"iss": RULES.issuer, "aud": RULES.audience, "sub": "billing", "exp": END, "scope": "infer"}


def jwk(algorithm: str, key_id: str | None, key: Any = None) -> dict[str, Any]:  # noqa: ANN401 - of any kind
    """Return the public half of a key as the file holds it."""
    entry: dict[str, Any] = json.loads(TO_JWK[algorithm]((key or PRIVATE[algorithm]).public_key()))
    return entry | ({"kid": key_id} if key_id else {})


def write(path: Path, *entries: dict[str, Any]) -> Path:
    """Write a JWKS file."""
    path.write_text(json.dumps({"keys": entries}))
    return path


def token(algorithm: str = "ES256", key_id: str | None = "ES256", key: Any = None, **claims: Any) -> str:  # noqa: ANN401 - of any kind
    """Return a token; a claim that is None is left out."""
    said = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    headers = {"kid": key_id} if key_id else None
    return jwt.encode(said, key or PRIVATE[algorithm], algorithm, headers=headers)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """Read a file with a key of each algorithm."""
    path = tmp_path_factory.mktemp("jwks") / "jwks.json"
    return read_tokens(write(path, *(jwk(each, each) for each in PRIVATE)), RULES)


@pytest.mark.parametrize("algorithm", PRIVATE)
@pytest.mark.parametrize(
    ("said", "scopes"),
    [
        ({"scope": "openid infer admin"}, {"infer", "admin"}),
        ({"scope": None, "scp": ["admin", 1]}, {"admin"}),
        ({"scope": None, "scp": "infer"}, {"infer"}),
        ({"scope": None}, set()),
        ({"scope": 7}, set()),
        ({"scope": "inferno", "aud": ["other", "bertwire"]}, set()),
    ],
)
def test_good_token_is_an_identity(tokens: Tokens, algorithm: str, said: dict[str, Any], scopes: set[str]) -> None:
    """Return the client of each algorithm's token, and its scopes in any of the forms in use."""
    identity = tokens.identity(token(algorithm, algorithm, **said))
    assert (identity.client, set(identity.scopes)) == ("billing", scopes)


def encoded(content: str | bytes) -> str:
    """Return a part of a token."""
    plain = content if isinstance(content, bytes) else content.encode(errors="replace")
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def hmac_with_public_key() -> str:
    """Return a token signed by HMAC with the public key, valid where the token chooses its algorithm."""
    secret = PRIVATE["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = encoded('{"alg":"HS256","kid":"RS256"}') + "." + encoded(json.dumps(CLAIMS))
    return signed + "." + encoded(hmac.digest(secret, signed.encode(), "sha256"))


BAD = "malformed or not signed"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: token(exp=1_000_000_000), "the token has expired"),
        (lambda: token(nbf=3_999_999_999), "not valid yet"),
        (lambda: token(aud="other"), "another audience"),
        (lambda: token(iss="https://other.example"), "another issuer"),
        (lambda: token(exp=None), "lacks one of the claims"),
        (lambda: token(sub=None), "lacks one of the claims"),
        (lambda: token(aud=None), "lacks one of the claims|another audience"),
        (lambda: token(iss=None), "lacks one of the claims|another issuer"),
        (lambda: token(sub=""), "the token's sub must be"),
        (lambda: token(sub="a\nb"), "the token's sub must be"),
        (lambda: token(exp="soon"), BAD),
        (lambda: token(exp=float("inf")), BAD),
        (lambda: token(exp=10**400), BAD),
        (lambda: token(key_id=None), BAD),
        (lambda: token(key_id="other"), BAD),
        (lambda: token("ES256", "RS256"), BAD),
        (lambda: token(key=new_ec(SECP256R1())), BAD),
        (lambda: token("RS256", "RS256", exp=1_000_000_000, key=new_rsa(65537, 2048)), BAD),
        (lambda: token()[:-4] + "AAAA", BAD),
        (lambda: jwt.encode(CLAIMS, "", "none", headers={"kid": "ES256"}), BAD),
        (lambda: jwt.encode(CLAIMS, PRIVATE["RS256"], "RS512", headers={"kid": "RS256"}), BAD),
        (hmac_with_public_key, BAD),
    ],
)
def test_bad_token_is_refused(
    tokens: Tokens, make: Callable[[], str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Say what is wrong with a token that the issuer signed, nothing of another, and quote none."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Unauthenticated, match=said) as caught:
        tokens.identity(make())
    for part in make().split(".")[:2]:
        assert part not in str(caught.value) + caplog.text


@given(st.text() | st.lists(st.text().map(encoded), max_size=4).map(".".join))
@example(encoded("[" * 5000) + "..")
@example(encoded('{"alg":"ES256","kid":["ES256"]}') + "..")
@example(encoded('{"alg":"ES256","kid":"ES256","crit":1}') + f".{encoded('{')}.AA")
@example("\ud800..")
def test_any_text_is_refused(tokens: Tokens, text: str) -> None:
    """Raise Unauthenticated and nothing else for any text."""
    with pytest.raises(Unauthenticated):
        tokens.identity(text)


def test_good_tokens_are_checked_once_and_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify a token once until its end and the leeway; of more tokens than are kept forget the least recently used."""
    tokens = read_tokens(write(tmp_path / "jwks.json", jwk("ES256", "ES256")), RULES, most=3)
    checked = Mock(side_effect=jwt.decode)
    monkeypatch.setattr(jwt, "decode", checked)
    first, *others = (token(sub=str(number)) for number in range(10))
    for other in others:
        assert (tokens.identity(first).client, tokens.identity(other).client) == ("0", str(others.index(other) + 1))
    assert checked.call_count == 10
    tokens.identity(others[0])
    assert checked.call_count == 11
    monkeypatch.setattr(time, "time", lambda: END + 29.0)
    tokens.identity(first)
    assert checked.call_count == 11
    monkeypatch.setattr(time, "time", lambda: END + 30.0)
    tokens.identity(first)
    assert checked.call_count == 12


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "is no JSON Web Key Set"),
        ("[]", "is no JSON Web Key Set"),
        ('{"keys": [1]}', "is no JSON Web Key Set"),
        ('{"keys": [{"kty": "EC", "crv": "P-256"}]}', "is no JSON Web Key Set"),
        ('{"keys": []}', "holds no signature key"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}', "holds a secret key"),
        (json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(PRIVATE["ES256"]))]}), "holds a secret key"),
        (json.dumps({"keys": [jwk("RS256", "a") | {"use": "enc"}]}), "holds no signature key"),
        (json.dumps({"keys": [jwk("RS256", "a") | {"alg": "RS512"}]}), "holds no signature key"),
        (json.dumps({"keys": [jwk("RS256", "a", WEAK)]}), "less than 2048 bits"),
        (json.dumps({"keys": [jwk("RS256", "a"), jwk("ES256", "a")]}), "cannot be told apart"),
        (None, "cannot read"),
    ],
)
def test_faults_of_the_file_are_one_line(content: str | None, fault: str, tmp_path: Path) -> None:
    """Name a file that is no key set, or holds a key that no server should have."""
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=fault) as caught:
        read_tokens(path, RULES)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_server_follows_the_issuers_keys(tmp_path: Path) -> None:
    """Accept a token until its key leaves the file, without a key id where the file has one key."""
    path = write(tmp_path / "jwks.json", jwk("RS256", None))
    config = AccessConfig(jwt_jwks=path, jwt_issuer=RULES.issuer, jwt_audience=RULES.audience)
    access = open_access(config)
    old = [("authorization", f"Bearer {token('RS256', None)}")]
    new = [("authorization", f"Bearer {token(scope='admin')}")]
    async with gated(access) as server, grpc.aio.insecure_channel(server.address) as channel:
        assert await who(channel, metadata=old) == "billing"
        path.write_text("{")
        access.poll()
        assert await who(channel, metadata=old) == "billing"
        write(path, jwk("ES256", "ES256"))
        access.poll()
        assert await who(channel, LOAD, metadata=new) == "billing"
        for method, metadata, code in [(LOAD, old, "UNAUTHENTICATED"), ("/a.B/C", new, "PERMISSION_DENIED")]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await who(channel, method, metadata=metadata)
            assert caught.value.code().name == code
