"""API keys: from the command that makes one to the call that shows it."""

import asyncio
import logging
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from bertwire_core.errors import UserError
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.gate import Gate
from bertwire_server.access.identity import Limits
from bertwire_server.access.keys import key_hash, new_key, read_keys
from bertwire_server.access.setup import Access, open_access
from bertwire_server.errors import Forbidden, Overloaded, Unauthenticated
from gated import CLASSIFY, LOAD, gated, who
from support import bertwire


class NoPeer:
    """A connection without a certificate."""

    def peer(self) -> str:
        """Return its address."""
        return "ipv4:192.0.2.1:5000"

    def peer_identities(self) -> None:
        """Return no names."""


def entry(key: str, client: str = "billing", scopes: str = '["infer"]', more: str = "") -> str:
    """Return one table of the keys file."""
    return f'[[keys]]\nclient = "{client}"\nscopes = {scopes}\nsha256 = "{key_hash(key)}"\n{more}\n'


def keyed(path: Path, *entries: str) -> tuple[Access, Gate]:
    """Open access by a keys file of these entries."""
    path.write_text("".join(entries))
    access = open_access(AccessConfig(api_keys=path))
    assert access.gate is not None
    return access, access.gate


def admitted(gate: Gate, key: str, method: str = CLASSIFY) -> str:
    """Return the client that a key admits."""
    named: list[str] = []
    with gate.admit(method, {"authorization": f"Bearer {key}"}, NoPeer(), named.append):
        return named.pop()


def refusal(gate: Gate, metadata: dict[str, str | bytes]) -> str:
    """Return what a call with this metadata is told, which must be Unauthenticated."""
    with pytest.raises(Unauthenticated) as caught:
        gate.admit(CLASSIFY, metadata, NoPeer(), str)
    return str(caught.value)


def test_command_makes_a_key_that_works(tmp_path: Path) -> None:
    """Print a new key to standard output and its entry to standard error; refuse a name or scope that no file holds."""
    made = [
        subprocess.run(bertwire("keys", "new", "--client", "ops/team-1", *scopes), capture_output=True, text=True)
        for scopes in (["--scope", "infer,admin"], ["--scope", "infer", "--scope", "admin"])
    ]
    first, second = (each.stdout.strip() for each in made)
    assert first != second
    _, gate = keyed(tmp_path / "keys.toml", *(each.stderr for each in made))
    assert first not in (tmp_path / "keys.toml").read_text()
    assert {admitted(gate, key, method) for key in (first, second) for method in (CLASSIFY, LOAD)} == {"ops/team-1"}
    for name, scope, fault in (('a"b', "infer", "--client"), ("a", "infer,root", "--scope")):
        command = bertwire("keys", "new", "--client", name, "--scope", scope)
        result = subprocess.run(command, capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"bertwire: error: {fault}: ")


async def test_server_knows_the_client_by_its_key(tmp_path: Path) -> None:
    """Accept a key in either form over gRPC; answer UNAUTHENTICATED to a missing or unknown one."""
    key = new_key()
    access, _ = keyed(tmp_path / "keys.toml", entry(key))
    async with gated(access) as server, grpc.aio.insecure_channel(server.address) as channel:
        for metadata in [("authorization", f"Bearer {key}"), ("authorization", f"bearer  {key}"), ("x-api-key", key)]:
            assert await who(channel, metadata=[metadata]) == "billing"
        for wrong in [[], [("authorization", f"Bearer {new_key()}")], [("authorization", "Basic eDp5")]]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await who(channel, metadata=wrong)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_scopes_hold(tmp_path: Path) -> None:
    """Refuse methods of the other scope; ask for no key for health."""
    user, admin = new_key(), new_key()
    _, gate = keyed(tmp_path / "keys.toml", entry(user), entry(admin, "ops", '["admin"]'))
    for method in (
        CLASSIFY,
        "/tei.v1.Predict/Predict",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/inference.model_repository.ModelRepositoryService/RepositoryIndex",
        "/grpc.health.v1.Health/List",
    ):
        assert admitted(gate, user, method) == "billing"
        with pytest.raises(Forbidden, match="'ops' lacks the scope 'infer'"):
            admitted(gate, admin, method)
    for method in (
        LOAD,
        "/inference.model_repository.ModelRepositoryService/RepositoryModelLoad",
        "/inference.model_repository.ModelRepositoryService/RepositoryModelUnload",
        "/bertwire.v1.ModelRepository/ReloadModel",
    ):
        assert admitted(gate, admin, method) == "ops"
        with pytest.raises(Forbidden, match="'billing' lacks the scope 'admin'"):
            admitted(gate, user, method)
    named: list[str] = []
    with pytest.raises(Forbidden):
        gate.admit(LOAD, {"authorization": f"Bearer {user}"}, NoPeer(), named.append)
    with gate.admit("/grpc.health.v1.Health/Check", {}, NoPeer(), named.append):
        assert named == ["billing"]  # so that the log can say whose call was refused


def test_refusal_says_nothing_of_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse unknown, expired and malformed keys in the same words, and quote none."""
    caplog.set_level(logging.DEBUG)
    key, end = new_key(), datetime(2040, 1, 1, tzinfo=UTC)
    _, gate = keyed(tmp_path / "keys.toml", entry(key, more=f"expires = {end.isoformat()}"))
    monkeypatch.setattr(time, "time", lambda: end.timestamp() - 1)
    assert admitted(gate, key) == "billing"
    wrong = [{"x-api-key": each} for each in (new_key(), key[:-1], key + "x", "", "bw_\u00e9\ud800", b"\xff")]
    said = {refusal(gate, each) for each in wrong}
    monkeypatch.setattr(time, "time", end.timestamp)
    said.add(refusal(gate, {"authorization": f"Bearer {key}"}))
    assert said == {"the API key is unknown or has expired"}
    assert "not of the form 'Bearer CREDENTIAL'" in refusal(gate, {"authorization": b"\xff"})
    assert key[3:] not in caplog.text


@pytest.mark.parametrize("content", ["", "[[keys]]\n", "\x00", None])
async def test_file_is_watched(content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Keep the keys and log once where the file becomes bad or goes; take those of the next good file."""
    caplog.set_level(logging.INFO)
    path, old, new = tmp_path / "keys.toml", new_key(), new_key()
    access, gate = keyed(path, entry(old))
    access.poll()
    assert not caplog.records
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for _ in range(2):
        access.poll()
    assert admitted(gate, old) == "billing"
    watching = asyncio.create_task(access.watch(every_seconds=0))
    (tmp_path / "new").write_text(entry(new, "search"))
    (tmp_path / "new").replace(path)
    while len(caplog.records) < 2:  # noqa: ASYNC110 - the log has no event
        await asyncio.sleep(0)
    watching.cancel()
    assert [each.levelname for each in caplog.records] == ["ERROR", "INFO"]
    assert all(str(path) in each.message for each in caplog.records)
    assert admitted(gate, new) == "search"
    assert "unknown" in refusal(gate, {"x-api-key": old})


def test_limits_of_the_file_follow_it(tmp_path: Path) -> None:
    """Apply a client's own limits of the file, and new ones with its next call."""
    path, key = tmp_path / "keys.toml", new_key()
    access, gate = keyed(path, entry(key, more="concurrency = 1"))
    metadata = {"x-api-key": key}
    with gate.admit(CLASSIFY, metadata, NoPeer(), str):
        with pytest.raises(Overloaded):
            gate.admit(CLASSIFY, metadata, NoPeer(), str)
        path.write_text(entry(key, more="concurrency = 2"))
        access.poll()
        with gate.admit(CLASSIFY, metadata, NoPeer(), str), pytest.raises(Overloaded):
            gate.admit(CLASSIFY, metadata, NoPeer(), str)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", Limits(5, 10, 3)),
        ("rate = 50.0", Limits(50, 50, 3)),
        ("rate = 0.5", Limits(0.5, 1, 3)),
        ("burst = 7", Limits(5, 7, 3)),
        ("rate = 50.0\nburst = 7\nconcurrency = 1", Limits(50, 7, 1)),
    ],
)
def test_own_limits_stand_before_the_servers(more: str, expected: Limits, tmp_path: Path) -> None:
    """Take what an entry leaves out from the server, but the burst from the entry's own rate."""
    key, path = new_key(), tmp_path / "keys.toml"
    path.write_text(entry(key, more=more))
    identity = read_keys(path, Limits(5, 10, 3)).identity(key)
    assert identity is not None
    assert identity.limits == expected


KEY = new_key()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("keys = 1", "keys: "),
        ("", "keys: is missing"),
        ("= x", "is not TOML"),
        (entry(KEY) + entry(KEY), r"keys\[1\] is there twice"),
        (entry(KEY) + entry(new_key(), more="rate = 5.0"), "'billing' differ in limits"),
        (entry(KEY, scopes='["root"]'), r"keys\[0\].scopes"),
        (entry(KEY, scopes="[]"), r"keys\[0\].scopes"),
        (entry(KEY, client=""), r"keys\[0\].client"),
        (entry(KEY, more="rate = 0"), r"keys\[0\].rate"),
        (entry(KEY, more="colour = 1"), r"keys\[0\].colour"),
        (entry(KEY, more="expires = 2030-01-01T00:00:00"), r"keys\[0\].expires"),
        (entry(KEY).replace(key_hash(KEY), KEY), r"keys\[0\].sha256: holds a key itself"),
    ],
)
def test_faults_of_the_file_are_one_line(content: str, fault: str, tmp_path: Path) -> None:
    """Name file and place of a fault in one line that quotes no key."""
    with pytest.raises(UserError, match=fault) as caught:
        keyed(tmp_path / "keys.toml", content)
    assert str(caught.value).startswith(str(tmp_path / "keys.toml"))
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
