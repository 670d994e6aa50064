"""API keys: from the command that makes one to the call that shows it."""

import asyncio
import logging
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertwire_core.errors import UserError
from bertwire_server.access import setup
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
        """Its address."""
        return "ipv4:192.0.2.1:5000"

    def peer_identities(self) -> None:
        """No names."""


def entry(key: str, client: str = "billing", scopes: str = '["infer"]', more: str = "") -> str:
    """One table of the keys file."""
    return f'[[keys]]\nclient = "{client}"\nscopes = {scopes}\nsha256 = "{key_hash(key)}"\n{more}\n'


def keyed(path: Path, *entries: str) -> tuple[Access, Gate]:
    """Access by a keys file of these entries."""
    path.write_text("".join(entries))
    access = open_access(AccessConfig(api_keys=path))
    assert access.gate is not None
    return access, access.gate


def admitted(gate: Gate, key: str, method: str = CLASSIFY) -> str:
    """The client that a key lets in."""
    named: list[str] = []
    with gate.admit(method, {"authorization": f"Bearer {key}"}, NoPeer(), named.append):
        return named.pop()


def test_command_makes_a_key_that_works(tmp_path: Path) -> None:
    """What keys new prints to standard output is let in by what it prints to standard error; each is new."""
    made = [
        subprocess.run(bertwire("keys", "new", "--client", "ops/team-1", *scopes), capture_output=True, text=True)
        for scopes in (["--scope", "infer,admin"], ["--scope", "infer", "--scope", "admin"])
    ]
    first, second = (each.stdout.strip() for each in made)
    assert first != second
    _, gate = keyed(tmp_path / "keys.toml", *(each.stderr for each in made))
    assert first not in (tmp_path / "keys.toml").read_text()
    assert {admitted(gate, key, method) for key in (first, second) for method in (CLASSIFY, LOAD)} == {"ops/team-1"}


@pytest.mark.parametrize(("option", "value"), [("--client", 'a"b'), ("--scope", "infer,root")])
def test_command_refuses_what_the_file_would(option: str, value: str) -> None:
    """A name or a scope that no file may hold is one line of error, and no key is made."""
    options = {"--client": "a", "--scope": "infer"} | {option: value}
    command = bertwire("keys", "new", *(word for pair in options.items() for word in pair))
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"bertwire: error: {option}: ")


async def test_server_knows_the_client_by_its_key(tmp_path: Path) -> None:
    """Over gRPC a key is taken in either form, a missing and an unknown one are UNAUTHENTICATED."""
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
    """A method of the other scope is Forbidden, whichever of the two a key has; health needs no key."""
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


def test_refusal_says_nothing_of_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unknown, expired and nonsensical keys are refused with the same words, none of them the key's."""
    caplog.set_level(logging.DEBUG)
    known, old = new_key(), new_key()
    ended = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
    _, gate = keyed(tmp_path / "keys.toml", entry(known), entry(old, "old", more=f"expires = {ended}"))
    said = set()
    for key in (new_key(), old, known[:-1], known + "x", "", "bw_\u00e9\ud800"):
        with pytest.raises(Unauthenticated) as caught:
            admitted(gate, key)
        said.add(str(caught.value))
    assert said == {"the API key is unknown or has expired"}
    assert known[3:] not in caplog.text


def test_key_expires_while_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is good until its end and not after."""
    key, end = new_key(), datetime(2040, 1, 1, tzinfo=UTC)
    _, gate = keyed(tmp_path / "keys.toml", entry(key, more=f"expires = {end.isoformat()}"))
    monkeypatch.setattr(time, "time", lambda: end.timestamp() - 1)
    assert admitted(gate, key) == "billing"
    monkeypatch.setattr(time, "time", end.timestamp)
    with pytest.raises(Unauthenticated):
        admitted(gate, key)


def test_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that leaves the file is refused from the next look on, one that comes is taken."""
    caplog.set_level(logging.INFO)
    path, old, new = tmp_path / "keys.toml", new_key(), new_key()
    access, gate = keyed(path, entry(old))
    access.poll()
    assert caplog.text == ""
    path.write_text(entry(new, "search"))
    access.poll()
    assert admitted(gate, new) == "search"
    with pytest.raises(Unauthenticated):
        admitted(gate, old)
    assert [record.message for record in caplog.records] == [f"read {path} again"]


@pytest.mark.parametrize("content", ["", "[[keys]]\n", "\x00", None])
def test_bad_new_file_keeps_the_old_keys(content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty, broken or missing file changes nothing and is told of once; the next good one is taken."""
    path, key = tmp_path / "keys.toml", new_key()
    access, gate = keyed(path, entry(key))
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    access.poll()
    access.poll()
    assert admitted(gate, key) == "billing"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(path) in caplog.text
    path.write_text("keys = []\n")
    access.poll()
    with pytest.raises(Unauthenticated):
        admitted(gate, key)


def test_limits_of_the_file_follow_it(tmp_path: Path) -> None:
    """A client's own limits stand in the file, and new ones are in force with its next call."""
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
    """What an entry does not say is the server's, but a rate of its own has its own second's calls as burst."""
    key, path = new_key(), tmp_path / "keys.toml"
    path.write_text(entry(key, more=more))
    identity = read_keys(path, Limits(5, 10, 3)).identity(key)
    assert identity is not None
    assert identity.limits == expected


async def test_watch_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, a new file is in force without anyone's asking, and a broken one ends nothing."""
    monkeypatch.setattr(setup, "_POLL_SECONDS", 0)
    path, old, new = tmp_path / "keys.toml", new_key(), new_key()
    access, gate = keyed(path, entry(old))
    polled = asyncio.Event()
    loop, poll = asyncio.get_running_loop(), access.files[0].poll

    def told() -> None:
        poll()
        loop.call_soon_threadsafe(polled.set)

    monkeypatch.setattr(access.files[0], "poll", told)
    task = asyncio.create_task(access.watch())
    for content in ("x", entry(new)):
        path.write_text(content)
        # The first look may have begun before the file was written.
        for _ in range(2):
            polled.clear()
            await polled.wait()
    assert admitted(gate, new) == "billing"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@given(st.dictionaries(st.sampled_from(["authorization", "x-api-key"]), st.text() | st.binary(), min_size=1))
def test_any_metadata_is_refused(tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, str | bytes]) -> None:
    """Whatever stands in a credential's place, it is Unauthenticated and nothing else."""
    _, gate = keyed(tmp_path_factory.getbasetemp() / "any.toml", entry(KEY))
    with pytest.raises(Unauthenticated):
        gate.admit(CLASSIFY, metadata, NoPeer(), str)


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
    """What is wrong is said with the file's name and the place, and quotes no key."""
    with pytest.raises(UserError, match=fault) as caught:
        keyed(tmp_path / "keys.toml", content)
    assert str(caught.value).startswith(str(tmp_path / "keys.toml"))
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
