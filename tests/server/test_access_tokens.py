"""Tokens of an identity provider, good and bad."""

import base64
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from bertwire_server.access import tokens as tokens_module
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
CLAIMS = {"iss": RULES.issuer, "aud": RULES.audience, "sub": "billing", "exp": 4_000_000_000, "scope": "infer"}


def jwk(algorithm: str, key_id: str | None, key: Any = None) -> dict[str, Any]:  # noqa: ANN401 - of any kind
    """The public half of a key as the file holds it."""
    entry: dict[str, Any] = json.loads(TO_JWK[algorithm]((key or PRIVATE[algorithm]).public_key()))
    return entry | ({"kid": key_id} if key_id else {})


def write(path: Path, *entries: dict[str, Any]) -> Path:
    """Writes a JWKS file."""
    path.write_text(json.dumps({"keys": entries}))
    return path


def token(algorithm: str = "ES256", key_id: str | None = "ES256", key: Any = None, **claims: Any) -> str:  # noqa: ANN401 - of any kind
    """A token; a claim that is None is left out."""
    said = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    headers = {"kid": key_id} if key_id else None
    return jwt.encode(said, key or PRIVATE[algorithm], algorithm, headers=headers)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """Checks with a key of each algorithm."""
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
    """Each algorithm's token names its client, and its scopes in any of the forms in use."""
    identity = tokens.identity(token(algorithm, algorithm, **said))
    assert (identity.client, set(identity.scopes)) == ("billing", scopes)


def encoded(content: str | bytes) -> str:
    """A part of a token."""
    plain = content if isinstance(content, bytes) else content.encode(errors="replace")
    return base64.urlsafe_b64encode(plain).decode().rstrip("=")


def hmac_with_public_key() -> str:
    """Signed with HMAC, the public key as the secret: taken by who lets the token choose its algorithm."""
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
    """What is wrong with a token that the issuer signed is said; of another nothing is, and none is quoted."""
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
    """Whatever stands in a token's place, it is Unauthenticated and nothing else."""
    with pytest.raises(Unauthenticated):
        tokens.identity(text)


def test_only_key_needs_no_id(tmp_path: Path) -> None:
    """A file with one key serves tokens that do not say which key they are signed with."""
    tokens = read_tokens(write(tmp_path / "jwks.json", jwk("ES256", None)), RULES)
    assert tokens.identity(token(key_id=None)).client == "billing"


def test_good_token_is_checked_once_and_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature is looked at once; past its end and the leeway the same token is refused."""
    tokens = read_tokens(write(tmp_path / "jwks.json", jwk("ES256", "ES256")), RULES)
    checked = []

    def decode(*arguments: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - jwt's
        checked.append(arguments)
        return dict(real(*arguments, **options))

    real = jwt.decode
    monkeypatch.setattr(jwt, "decode", decode)
    good = token(exp=4_000_000_000)
    assert [tokens.identity(good).client for _ in range(3)] == ["billing"] * 3
    monkeypatch.setattr(time, "time", lambda: 4_000_000_029.0)
    assert tokens.identity(good).client == "billing"
    assert len(checked) == 1
    monkeypatch.setattr(time, "time", lambda: 4_000_000_030.0)
    tokens.identity(good)
    assert len(checked) == 2


def test_memory_of_tokens_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many good tokens the ones unused for longest are forgotten."""
    monkeypatch.setattr(tokens_module, "_MAX_CACHED", 3)
    tokens = read_tokens(write(tmp_path / "jwks.json", jwk("ES256", "ES256")), RULES)
    first = token(sub="first")
    for number in range(10):
        tokens.identity(first)
        tokens.identity(token(sub=str(number)))
    assert len(tokens._good) == 3
    assert first in tokens._good


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
    """A file that is no key set, or one that no server should hold, is said to be so."""
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=fault) as caught:
        read_tokens(path, RULES)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_server_follows_the_issuers_keys(tmp_path: Path) -> None:
    """Over gRPC a token is taken until its key leaves the file, a broken file in between changes nothing."""
    path = write(tmp_path / "jwks.json", jwk("RS256", "RS256"))
    config = AccessConfig(jwt_jwks=path, jwt_issuer=RULES.issuer, jwt_audience=RULES.audience)
    access = open_access(config)
    old = [("authorization", f"Bearer {token('RS256', 'RS256')}")]
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
