"""Settings of access: what goes together, and what is warned of."""

import logging
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_core.options import validated
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.identity import Limits
from bertwire_server.access.setup import open_access, warn_if_open

TLS = {"tls_certificate": "a.pem", "tls_key": "a.key"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"tls_key": "a.key"}, "--tls-key needs --tls-certificate"),
        ({"tls_certificate": "a.pem"}, "--tls-certificate needs --tls-key"),
        ({"tls_client_ca": "ca.pem"}, "--tls-client-ca needs --tls-certificate"),
        (TLS | {"tls_client_scopes": ["infer,admin"]}, "--tls-client-scopes needs --tls-client-ca"),
        (TLS | {"tls_admins": ["ops"]}, "--tls-admins needs --tls-client-ca"),
        ({"jwt_jwks": "a.json"}, "tokens need --jwt-issuer and --jwt-audience too"),
        ({"jwt_issuer": "i", "jwt_audience": "a"}, "tokens need --jwt-jwks too"),
        ({"rate_burst": 5}, "--rate-burst needs --rate-limit"),
        ({"tls_client_scopes": ["infer,root"]}, "--tls-client-scopes: unknown scope 'root'"),
        ({"tls_key": "a.key", "rate_burst": 5}, "--tls-key needs --tls-certificate; --rate-burst needs --rate-limit"),
    ],
)
def test_what_goes_together_is_asked_for(options: dict[str, Any], fault: str) -> None:
    """Name the missing half of each setting, all in one line."""
    with pytest.raises(UserError) as caught:
        validated(AccessConfig, options)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, Limits()),
        ({"rate_limit": 0.5}, Limits(0.5, 1.0)),
        ({"rate_limit": 100}, Limits(100, 100)),
        ({"rate_limit": 100, "rate_burst": 7, "max_concurrency": 3}, Limits(100, 7, 3)),
    ],
)
def test_limits_of_a_client(options: dict[str, Any], limits: Limits) -> None:
    """Take one second's calls for the burst, at least one, unless it is set."""
    assert AccessConfig(**options).limits == limits


def test_nothing_configured_costs_nothing() -> None:
    """Make no gate, TLS and file without settings."""
    access = open_access(AccessConfig())
    assert (access.gate, access.credentials, access.files) == (None, None, ())


OPEN, CLEAR = "anyone who reaches it", "in the clear"


@pytest.mark.parametrize(
    ("host", "options", "said"),
    [
        ("127.0.0.1", {}, []),
        ("localhost", {}, []),
        ("::1", {}, []),
        ("unix:/run/b.sock", {}, []),
        ("0.0.0.0", {}, [OPEN, CLEAR]),
        ("::", {}, [OPEN, CLEAR]),
        ("classifier.internal", TLS, [OPEN]),
        ("192.0.2.1", {"api_keys": "k.toml"}, [CLEAR]),
        ("0.0.0.0", TLS | {"tls_client_ca": "ca.pem"}, []),
        ("0.0.0.0", TLS | {"api_keys": "k.toml"}, []),
    ],
)
def test_open_server_is_warned_of_once(
    host: str, options: dict[str, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Warn in one line of what is missing where others can reach the server."""
    warn_if_open(host, AccessConfig(**options))
    assert [record.levelno for record in caplog.records] == ([logging.WARNING] if said else [])
    assert [each for each in (OPEN, CLEAR) if each in caplog.text] == said
