"""Authentication by signed tokens (JWT), verified with the keys of a JWKS file."""

import json
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bertwire_core.errors import UserError, first_line
from bertwire_server.access.identity import SCOPES, Identity, Limits
from bertwire_server.access.watched import read_bytes
from bertwire_server.errors import Unauthenticated

# Asymmetric alone: nothing on this server can sign a token.
ALGORITHMS = ("RS256", "ES256", "EdDSA")
_MIN_RSA_BITS = 2048
# Verified tokens that are kept. Halved, more clients than that have each call verified again; doubled, they take twice
# the memory.
_MAX_CACHED = 4096
# Characters of a client's name. Halved, some issuers' subjects are refused; doubled, lines of the log grow.
_MAX_NAME = 256

_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "the token has expired; get a new one"),
    (jwt.ImmatureSignatureError, "the token is not valid yet; check the clocks"),
    (jwt.InvalidAudienceError, "the token is meant for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.MissingRequiredClaimError, "the token lacks one of the claims iss, aud, exp and sub"),
)
_BAD = "the token is malformed or not signed by a key that this server trusts"


@dataclass(frozen=True, slots=True)
class TokenRules:
    """Requirements of a token.

    Attributes:
        issuer: its `iss`.
        audience: its `aud`, or one of them.
        leeway: most seconds by which the clocks may differ.
        limits: of a client with a token.
    """

    issuer: str
    audience: str
    leeway: float
    limits: Limits


class Tokens:
    """Verifies tokens with the keys of one version of the file.

    Valid tokens are cached until they expire: verifying a signature takes some 70 to 100 microseconds, a look-up one.

    Args:
        keys: public keys with their ids; None for a key without one.
        rules: requirements of a token.
        most: verified tokens that are kept.
    """

    def __init__(self, keys: list[tuple[str | None, jwt.PyJWK]], rules: TokenRules, most: int = _MAX_CACHED) -> None:
        self._by_id = dict(keys)
        self._only = keys[0][1] if len(keys) == 1 else None
        self._rules, self._most = rules, most
        self._good: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    def identity(self, token: str) -> Identity:
        """Return the client whose token it is; raise `Unauthenticated` where it is invalid."""
        if (found := self._good.get(token)) is not None:
            if time.time() < found[0]:
                self._good.move_to_end(token)
                return found[1]
            del self._good[token]
        claims = self._claims(token)
        identity = Identity(_name(claims["sub"]), _scopes(claims), self._rules.limits)
        self._good[token] = claims["exp"] + self._rules.leeway, identity
        if len(self._good) > self._most:
            self._good.popitem(last=False)
        return identity

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                # The algorithm is the key's; a token that names another is invalid.
                algorithms=[key.algorithm_name],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=self._rules.leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            # Within the block, since JSON has integers too large for a float.
            return claims | {"exp": float(claims["exp"])}
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            fault = next((said for kind, said in _FAULTS if isinstance(error, kind)), _BAD)
            raise Unauthenticated(fault) from None

    def _key(self, key_id: object) -> jwt.PyJWK:
        key = self._only if key_id is None else self._by_id.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise jwt.InvalidKeyError
        return key


def read_tokens(path: Path, rules: TokenRules, most: int = _MAX_CACHED) -> Tokens:
    """Read a JWKS file; keys for encryption and for other algorithms than `ALGORITHMS` are ignored.

    Raises:
        UserError: the file cannot be read, holds a secret or weak key, or holds no usable one.
    """
    try:
        content = json.loads(read_bytes(path))
        entries = [each for each in content["keys"] if each.get("use", "sig") == "sig"]
        if any(each.get("kty") == "oct" or "d" in each for each in entries):
            raise UserError(f"{path} holds a secret key; give the issuer's public keys alone")
        keys = [(each.get("kid"), jwt.PyJWK(each)) for each in entries if _allowed(each)]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise UserError(f"{path} is no JSON Web Key Set: {first_line(error)}") from None
    if not keys:
        raise UserError(f"{path} holds no signature key for {', '.join(ALGORITHMS)}")
    for _, key in keys:
        if isinstance(key.key, RSAPublicKey) and key.key.key_size < _MIN_RSA_BITS:
            raise UserError(f"{path} holds an RSA key of less than {_MIN_RSA_BITS} bits")
    if len({key_id for key_id, _ in keys}) < len(keys):
        raise UserError(f"{path} holds keys that cannot be told apart; give each a kid of its own")
    return Tokens(keys, rules, most)


def _allowed(entry: dict[str, Any]) -> bool:
    if "alg" in entry:
        return entry["alg"] in ALGORITHMS
    return entry.get("kty") in ("RSA", "OKP") or entry.get("crv") == "P-256"


def _name(subject: str) -> str:
    if not 0 < len(subject) <= _MAX_NAME or not subject.isprintable():
        raise Unauthenticated(f"the token's sub must be 1 to {_MAX_NAME} printable characters")
    return subject


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """Return the known scopes in `scope` or `scp`, either one string with spaces or a list."""
    said = claims.get("scope", claims.get("scp", ""))
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    return frozenset(each for each in words if isinstance(each, str)) & SCOPES
