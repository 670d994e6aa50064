"""Clients that say who they are, and servers that prove who they are."""

from __future__ import annotations

import asyncio
import os
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from trustme import CA

from authority import encrypted_key_pem, key_pem, write
from bertwire_batch import ScoreConfig
from bertwire_client import AsyncClient, Client, RequestError, UserError, tls_credentials
from bertwire_client.channel import read_api_key
from bertwire_client.errors import UnavailableError
from bertwire_core.options import validated
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.keys import key_hash, new_key
from bertwire_server.access.setup import Access, open_access
from fake import FakeServer
from gated import gated
from support import bertwire

KEYS = [new_key(), new_key()]
AUTHORITY = CA()


def keyed(folder: Path, **options: Path) -> Access:
    """Open access by the two keys, of clients 0 and 1."""
    path = folder / "keys.toml"
    path.write_text(
        "".join(
            f'[[keys]]\nclient = "{index}"\nscopes = ["infer"]\nsha256 = "{key_hash(key)}"\n'
            for index, key in enumerate(KEYS)
        )
    )
    return open_access(AccessConfig(api_keys=path, **options))


async def test_async_client_sends_its_key(tmp_path: Path) -> None:
    """Send the key with each call, without TLS too; ask a function for each call; raise for a wrong key."""
    numbers = count()
    async with gated(keyed(tmp_path)) as server:
        async with AsyncClient(server.address, api_key=KEYS[1]) as client:
            assert [(await client.classify(["a"])).model for _ in range(2)] == ["1", "1"]
        async with AsyncClient(server.address, token=lambda: KEYS[next(numbers)]) as client:
            assert [(await client.classify(["a"])).model for _ in range(2)] == ["0", "1"]
        async with AsyncClient(server.address, api_key=f"{KEYS[1]}\n") as client:
            assert (await client.classify(["a"])).model == "1"
        async with AsyncClient(server.address, api_key=new_key()) as client:
            with pytest.raises(RequestError, match=r"^UNAUTHENTICATED: the API key is unknown") as caught:
                await client.classify(["a"])
            assert "bw_" not in str(caught.value)


async def test_sync_client_sends_its_key_over_tls(tmp_path: Path) -> None:
    """Send the key over TLS to a server whose certificate the CA file has signed."""
    certificate, key = write(AUTHORITY.issue_cert("localhost"), tmp_path, "server")
    access = keyed(tmp_path, tls_certificate=certificate, tls_key=key)
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    code = (
        "import sys; from pathlib import Path; from bertwire_client import Client, tls_credentials\n"
        "with Client(sys.argv[1], api_key=sys.argv[2], credentials=tls_credentials(Path(sys.argv[3]))) as client:\n"
        "    print(client.classify(['a']).model)"
    )
    async with gated(access) as server:
        result = await run([*bertwire()[:1], "-c", code, server.address, KEYS[0], str(tmp_path / "ca.pem")])
    assert result == (0, "0\n", "")


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
async def test_proxy_in_the_way_is_named(variable: str, fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the environment's proxy where it does not answer, which gRPC's message does not."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    async with AsyncClient(fake.address, attempts=1) as client:
        with pytest.raises(UnavailableError, match=f"through the proxy that {variable} names"):
            await client.classify(["a"])
    monkeypatch.setenv("no_proxy", "localhost")
    async with AsyncClient(fake.address, attempts=1) as client:
        assert (await client.classify(["a"])).results


@pytest.mark.parametrize(("name", "authority"), [("localhost", "other"), ("127.0.0.1", "test")])
async def test_certificate_that_is_not_trusted(name: str, authority: str, tmp_path: Path) -> None:
    """Tell a certificate of another authority or name from a server that is not there."""
    certificate, key = write(AUTHORITY.issue_cert("localhost"), tmp_path, "server")
    (AUTHORITY if authority == "test" else CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    credentials = tls_credentials(tmp_path / "ca.pem")
    async with gated(open_access(AccessConfig(tls_certificate=certificate, tls_key=key))) as server:
        address = server.address.replace("localhost", name)
        async with AsyncClient(address, credentials=credentials, attempts=1) as client:
            with pytest.raises(RequestError, match=r"for the name in this address, and signed by the CA") as caught:
                await client.classify(["a"])
    assert "is the server started" not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("options", [{"api_key": "a", "token": "b"}, {"api_key": "a b"}, {"token": "\u00e9"}])
async def test_impossible_credentials_are_refused(kind: type[Client | AsyncClient], options: dict[str, Any]) -> None:
    """Raise at once, without a quote, for two credentials and for one that no header can carry."""
    with pytest.raises(ValueError, match=r"API key|api_key or token"):
        kind("localhost:1", **options)


async def test_tokens_of_a_function_are_not_quoted(fake: FakeServer) -> None:
    """Strip the line break of a token's file; raise, without a quote, for a token that no header can carry."""
    with Client(fake.address, token=lambda: "secret\n") as client:
        client.classify(["a"])
    assert fake.metadata[0]["authorization"] == "Bearer secret"
    with Client(fake.address, token=lambda: "sec\nret") as client, pytest.raises(ValueError, match="token") as caught:
        client.classify(["a"])
    async with AsyncClient(fake.address, token=lambda: "sec\nret") as other:
        with pytest.raises(ValueError, match="token"):
            await other.classify(["a"])
    assert "ret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_files_are_no_credentials(kind: type[Client | AsyncClient]) -> None:
    """Raise for a path in the credentials' place, and name the function that reads it."""
    wrong: Any = "ca.pem"
    with pytest.raises(TypeError, match=r"what tls_credentials\(.*makes of files, not str"):
        kind("localhost:1", credentials=wrong)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_what_is_no_address_is_refused(kind: type[Client | AsyncClient]) -> None:
    """Raise for what gRPC would take for a host name with port 443; accept its own forms of addresses."""
    for address in ("", "localhost", "http://localhost:8500", "localhost:http", "::1:8500", "a b:1", "a:70000"):
        with pytest.raises(UserError, match=r"is no address; give HOST:PORT"):
            kind(address)
    addresses = ("localhost:1", "127.0.0.1:1", "[::1]:1", "[fe80::1%br-0]:1", "dns:///localhost:1", "unix:/tmp/none")
    for address in addresses:
        closing = kind(address).close()
        if closing is not None:
            await closing


@pytest.mark.parametrize("by_file", [True, False])
async def test_score_shows_key_and_certificate(by_file: bool, tmp_path: Path) -> None:
    """Reach a server with mTLS and keys, by the key's file or the environment."""
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate, key = write(AUTHORITY.issue_cert("localhost"), tmp_path, "server")
    options = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": tmp_path / "ca.pem"}
    own = write(AUTHORITY.issue_cert("client"), tmp_path, "client")
    (tmp_path / "key").write_text(KEYS[1] + "\n")
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    tls = ("--tls-ca", tmp_path / "ca.pem", "--tls-certificate", own[0], "--tls-key", own[1])
    async with gated(keyed(tmp_path, **options)) as server:
        where = (tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl", "--server", server.address)
        shown = ("--api-key-file", tmp_path / "key") if by_file else ()
        status, _, said = await run(bertwire("score", *where, *tls, *shown), "" if by_file else KEYS[1])
        assert (status, "1 rows, 0 failed" in said) == (0, True)
        assert KEYS[1] not in said
        status, _, said = await run(bertwire("score", *where, *tls, "--overwrite"), new_key())
        assert status == 1
        assert said.splitlines()[-1].startswith("bertwire: error: UNAUTHENTICATED: the API key is unknown")
        assert said.endswith("; give a key with --api-key-file or BERTWIRE_API_KEY\n")
        assert "bw_" not in said


def test_half_a_certificate_is_refused() -> None:
    """Raise for a key without a certificate or CA before any file is read."""
    for options, fault in (({}, "go together"), ({"tls_certificate": "a"}, "needs --tls-ca")):
        with pytest.raises(UserError, match=fault):
            validated(ScoreConfig, {"inputs": ["a.csv"], "output": "b.csv", "tls_key": "a"} | options)


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"a\nb"])
def test_file_without_a_key_is_refused(content: bytes, tmp_path: Path) -> None:
    """Name a file that holds no key, without quoting it."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path} holds no API key"):
        read_api_key(path)
    with pytest.raises(UserError, match=r"^cannot read .*none: No such file"):
        read_api_key(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("ca.pem", AUTHORITY.cert_pem.bytes()[:200], "ca.pem holds no certificate"),
        ("ca.pem", None, "cannot read .*ca.pem"),
        ("own.key", None, "cannot read .*own.key"),
        ("own.pem", b"x", "own.key are no certificate in PEM and its key"),
        ("own.key", key_pem(AUTHORITY.issue_cert("other")), "own.key are no certificate in PEM and its key"),
        ("own.key", encrypted_key_pem(AUTHORITY.issue_cert("other")), "own.key are no certificate in PEM and its key"),
    ],
)
def test_faults_of_tls_files_are_told_at_once(name: str, content: bytes | None, fault: str, tmp_path: Path) -> None:
    """Name a missing, damaged, encrypted or foreign file before any call."""
    ca = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(ca)
    own = write(AUTHORITY.issue_cert("own"), tmp_path, "own")
    tls_credentials(ca, *own)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=fault):
        tls_credentials(ca, *own)
    with pytest.raises(UserError, match="give both or none"):
        tls_credentials(certificate=own[0])


def test_environment_is_second_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the variable where no file is given, and none where it is empty."""
    (tmp_path / "key").write_text("of-file\n")
    for value, found in [("of-environment", "of-environment"), ("", None)]:
        monkeypatch.setenv("BERTWIRE_API_KEY", value)
        assert read_api_key(None) == found
        assert read_api_key(tmp_path / "key") == "of-file"


async def run(command: list[str], key: str = "") -> tuple[int, str, str]:
    """Run a command beside the event loop with `key` in its environment; return exit status and both outputs."""
    environment = {**os.environ, "BERTWIRE_API_KEY": key}
    pipe = subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
