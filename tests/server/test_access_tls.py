"""TLS and client certificates, also where their files change while the server runs."""

import asyncio
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1
from trustme import CA, LeafCert

from authority import encrypted_key_pem, in_days, key_pem, pem, unusual, write
from bertwire_core.errors import UserError
from bertwire_server.access.config import AccessConfig
from bertwire_server.access.keys import key_hash, new_key
from bertwire_server.access.setup import open_access
from bertwire_server.probe import health
from gated import CLASSIFY, LOAD, NOBODY, gated, who

OLD, NEW = CA(), CA()


def tls_options(folder: Path, authority: CA = OLD) -> dict[str, Path]:
    """Return settings of a server whose certificate is of an authority, its files written."""
    certificate, key = write(authority.issue_cert("localhost"), folder, "server")
    return {"tls_certificate": certificate, "tls_key": key}


def mutual(folder: Path, authority: CA = OLD) -> dict[str, Path]:
    """Return the same for a server that asks for a client certificate of that authority."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return tls_options(folder, authority) | {"tls_client_ca": folder / "ca.pem"}


async def call(address: str, trusted: CA, own: LeafCert | None = None, method: str = CLASSIFY) -> str:
    """Make one call over a connection of its own; return the client's name, or gRPC's status."""
    credentials = grpc.ssl_channel_credentials(
        trusted.cert_pem.bytes(), *((key_pem(own), pem(own)) if own else (None, None))
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options) as channel:
        try:
            return await who(channel, method)
        except grpc.aio.AioRpcError as error:
            return error.code().name


async def test_certificate_is_changed_under_a_running_server(tmp_path: Path) -> None:
    """Use a new certificate for new connections, and keep those from before."""
    access = open_access(AccessConfig(**tls_options(tmp_path)))
    assert access.gate is None
    async with gated(access) as server:
        credentials = grpc.ssl_channel_credentials(OLD.cert_pem.bytes())
        async with grpc.aio.secure_channel(server.address, credentials) as standing:
            assert await who(standing) == ""
            assert [await call(server.address, each) for each in (OLD, NEW)] == ["", "UNAVAILABLE"]
            tls_options(tmp_path, NEW)
            access.poll()
            assert [await call(server.address, each) for each in (OLD, NEW)] == ["UNAVAILABLE", ""]
            assert await who(standing) == ""


def test_end_of_the_certificate_follows_its_file(tmp_path: Path) -> None:
    """Show the end of the certificate in use."""
    certificate, key = write(OLD.issue_cert("localhost", not_after=in_days(1)), tmp_path, "server")
    access = open_access(AccessConfig(tls_certificate=certificate, tls_key=key))
    assert access.tls is not None
    first = access.tls.value.ends
    write(OLD.issue_cert("localhost", not_after=in_days(9)), tmp_path, "server")
    access.poll()
    assert round((access.tls.value.ends - first) / 86_400) == 8
    assert open_access(AccessConfig()).tls is None


async def test_client_authority_is_changed_under_a_running_server(tmp_path: Path) -> None:
    """Accept clients of the file's new authority alone."""
    clients = [OLD.issue_cert("client"), NEW.issue_cert("client"), None]
    access = open_access(AccessConfig(**mutual(tmp_path)))
    async with gated(access) as server:
        assert [await call(server.address, OLD, each) for each in clients] == ["client", *["UNAVAILABLE"] * 2]
        mutual(tmp_path, NEW)
        access.poll()
        said = [await call(server.address, NEW, each) for each in clients]
        assert said == ["UNAVAILABLE", "client", "UNAVAILABLE"]


async def test_bad_new_files_keep_the_old_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Keep the files in use, and log once, for a key without its certificate and half a file."""
    options = tls_options(tmp_path)
    access = open_access(AccessConfig(**options))
    async with gated(access) as server:
        renewed = NEW.issue_cert("localhost")
        options["tls_key"].write_bytes(key_pem(renewed))
        access.poll()
        access.poll()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert await call(server.address, OLD) == ""
        options["tls_certificate"].write_bytes(pem(renewed)[:100])
        access.poll()
        assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
        assert await call(server.address, OLD) == ""
        options["tls_certificate"].write_bytes(pem(renewed))
        access.poll()
        assert await call(server.address, NEW) == ""


async def test_certificate_names_the_client(tmp_path: Path) -> None:
    """Name the client by its first SAN, else by the CN; let only those that are listed administer."""
    access = open_access(AccessConfig(**mutual(tmp_path), tls_admins=["ops.internal, other", "spiffe://example/ops"]))
    issue = OLD.issue_cert
    expected = [
        (issue("billing.internal", "other.internal", common_name="cn"), "billing.internal", "PERMISSION_DENIED"),
        (unusual(OLD), "cn", "PERMISSION_DENIED"),
        (issue("billing.internal", common_name="ops.internal"), "billing.internal", "PERMISSION_DENIED"),
        (issue("ops.internal", common_name="cn"), "ops.internal", "ops.internal"),
        (
            unusual(OLD, x509.UniformResourceIdentifier("spiffe://example/ops")),
            "spiffe://example/ops",
            "spiffe://example/ops",
        ),
    ]
    async with gated(access) as server:
        for client, infers, administers in expected:
            assert await call(server.address, OLD, client) == infers
            assert await call(server.address, OLD, client, LOAD) == administers


async def test_key_decides_over_the_certificate(tmp_path: Path) -> None:
    """Let a key that is sent decide alone, whatever the certificate."""
    key = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[keys]]\nclient = "by-key"\nscopes = ["infer"]\nsha256 = "{key_hash(key)}"\n')
    own = OLD.issue_cert("by-certificate")
    access = open_access(AccessConfig(**mutual(tmp_path), api_keys=keys))
    credentials = grpc.ssl_channel_credentials(OLD.cert_pem.bytes(), key_pem(own), pem(own))
    async with gated(access) as server, grpc.aio.secure_channel(server.address, credentials) as channel:
        assert await who(channel) == "by-certificate"
        assert await who(channel, metadata=[("x-api-key", key)]) == "by-key"
        with pytest.raises(grpc.aio.AioRpcError, match="unknown or has expired"):
            await who(channel, metadata=[("x-api-key", new_key())])


@pytest.mark.parametrize(
    ("name", "make", "fault"),
    [
        ("server.pem", lambda _: b"", "server.pem holds no certificate"),
        (
            "server.pem",
            lambda own: pem(own).replace(b"M", b"?"),
            "server.pem holds no certificate in PEM, or a damaged",
        ),
        ("server.pem", lambda _: pem(OLD.issue_cert("s", not_after=in_days(-1))), "server.pem expired at "),
        ("server.pem", lambda _: pem(unusual(OLD, curve=SECP521R1())), "server.pem is of a kind that gRPC does not"),
        ("server.key", lambda _: b"x", "server.key holds no private key"),
        ("server.key", lambda own: pem(own), "server.key holds no private key"),
        ("server.key", encrypted_key_pem, "server.key is encrypted"),
        ("server.key", lambda _: NEW.private_key_pem.bytes(), "server.key is not the key of .*server.pem"),
        ("ca.pem", key_pem, "ca.pem holds no certificate"),
        ("ca.pem", None, "cannot read .*ca.pem: No such file"),
    ],
)
def test_faults_of_files_are_one_line(name: str, make: object, fault: str, tmp_path: Path) -> None:
    """Name a damaged, missing, expired or foreign file in one line that quotes none of it."""
    options = mutual(tmp_path)
    if callable(make):
        own = OLD.issue_cert("server")
        (tmp_path / name).write_bytes(make(own))
    else:
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=fault) as caught:
        open_access(AccessConfig(**options))
    assert "\n" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Name certificate, keys and JWKS where all are missing."""
    config = AccessConfig(
        tls_certificate=tmp_path / "a.pem",
        tls_key=tmp_path / "a.key",
        api_keys=tmp_path / "b.toml",
        jwt_jwks=tmp_path / "c.json",
        jwt_issuer="i",
        jwt_audience="a",
    )
    with pytest.raises(UserError, match=r"a\.pem.*; .*b\.toml.*; .*c\.json"):
        open_access(config)


async def healthy(address: str, service: str = "", certificate: Path | None = None, key: Path | None = None) -> str:
    """Run the probe's check beside the event loop, with time enough for a busy machine."""
    return await asyncio.to_thread(health, address, service, certificate, key, seconds=30)


@pytest.mark.parametrize(
    "sans", [(), ("localhost",), ("127.0.0.1",), ("*.example.com",), ("classifier.prod.example.com", "10.1.2.3")]
)
async def test_probe_sees_a_server_with_tls(sans: tuple[str, ...], tmp_path: Path) -> None:
    """Find a server SERVING without settings, whatever names its certificate has, also at a socket file."""
    certificate, key = write(OLD.issue_cert(*sans) if sans else unusual(OLD), tmp_path, "server")
    config = AccessConfig(tls_certificate=certificate, tls_key=key)
    with TemporaryDirectory(prefix="bw") as folder:  # a socket's path has at most 107 bytes
        where = f"unix:{folder}/s"
        async with gated(open_access(config)) as server, gated(open_access(config), where=where) as other:
            assert await healthy(server.address) == await healthy(other.address) == "SERVING"
            assert await healthy(server.address, "unknown") == "NOT_FOUND"


async def test_probe_shows_a_certificate_where_one_is_asked_for(tmp_path: Path) -> None:
    """Find a server with mTLS SERVING with a certificate, and say what is missing without one."""
    own = write(OLD.issue_cert("probe"), tmp_path, "probe")
    async with gated(open_access(AccessConfig(**mutual(tmp_path)))) as server:
        assert await healthy(server.address, "", *own) == "SERVING"
        assert "does it want a client certificate?" in await healthy(server.address)


async def test_probe_sees_a_server_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find a server without TLS SERVING, whatever proxy is set, and none where it has gone."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with gated(NOBODY) as server:
        assert await healthy(server.address) == "SERVING"
    assert (await healthy(server.address)).startswith("no answer; is it started")


@pytest.mark.parametrize(
    ("options", "fault"), [((), "no answer; is it started"), (("--tls-key", "none"), "go together")]
)
def test_probe_exits_with_one_line(options: tuple[str, ...], fault: str) -> None:
    """Exit with 1 where no server answers, and for half a certificate."""
    command = [sys.executable, "-m", "bertwire_server.probe", "localhost:1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert fault in done.stderr
