"""A signature says who sealed a bundle, and holds nothing else to be true."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bertwire.v1.classifier_pb2 import ClassifyRequest
from bertwire.v1.classifier_pb2_grpc import ClassifierStub
from bertwire_core.errors import UserError
from bertwire_runtime.bundle import BundleError, open_bundle
from bertwire_runtime.bundle.keys import read_private_key, read_public_key
from bertwire_runtime.bundle.signature import DOMAIN
from support import Serve, bertwire, in_process, rehash, reseal

Key = ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey
Pair = tuple[Path, Path]


def pem(key: Key, kind: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> bytes:
    """A private key as a PEM file holds it."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, kind, encryption)


def public_pem(key: Key) -> bytes:
    """Its public half as a PEM file holds it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def pair(folder: Path, name: str) -> Pair:
    """A new key: the files of its private and its public half."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}-public.pem"
    private.touch(mode=0o600)
    private.write_bytes(pem(key))
    public.write_bytes(public_pem(key))
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The key that bundles are signed with."""
    return pair(tmp_path_factory.mktemp("keys"), "release")


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Someone else's key."""
    return pair(tmp_path_factory.mktemp("keys"), "other")


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(command: str, *arguments: object) -> Done:
    """Runs a command to its end: in this process, but `serve`, which ends its own."""
    if command != "serve":
        here = in_process(command, *arguments)
        return Done(here.exit_code, here.stdout, here.stderr)
    done = subprocess.run(bertwire(command, *arguments), capture_output=True, text=True, check=False, timeout=60)
    return Done(done.returncode, done.stdout, done.stderr)


def refusal(command: str, *arguments: object) -> str:
    """Runs a command that must fail, with nothing on standard output, and gives its one line."""
    done = run(command, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bertwire: error: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def sign(folder: Path, private: Path) -> None:
    """Signs a bundle by the command; nothing but the outcome is said."""
    done = run("bundle", "sign", folder, "--key", private)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{folder}: signed by key ")


@pytest.fixture(scope="module")
def signed_once(bundle: Path, keys: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle, not to be changed."""
    folder = Path(shutil.copytree(bundle, tmp_path_factory.mktemp("signed") / "bundle"))
    sign(folder, keys[0])
    return folder


@pytest.fixture
def signed(signed_once: Path, tmp_path: Path) -> Path:
    """A copy of a signed bundle, to be damaged."""
    return Path(shutil.copytree(signed_once, tmp_path / "copy"))


def fingerprint(public: Path) -> str:
    """SHA-256 of the raw public key, by cryptography alone: the last 32 bytes of its DER are the raw key."""
    der = base64.b64decode("".join(public.read_text().splitlines()[1:-1]))
    return sha256(der[-32:]).hexdigest()


def test_signed_bundle_is_verified(signed: Path, keys: Pair) -> None:
    """What sign writes verify accepts, naming the key; the bundle's other files stay as they were."""
    done = run("bundle", "verify", signed, "--public-key", keys[1])
    assert (done.returncode, done.stderr) == (0, "")
    key = fingerprint(keys[1])[:16]
    assert done.stdout == f"{signed}: signature by key {key}, valid; every hash verified\n"
    assert {each.name for each in signed.iterdir()} == {
        *("manifest.json", "manifest.sha256", "manifest.sig", "tokenizer.json"),
        *("probe.json", "fp32-packed.onnx", "int8-packed.onnx"),
    }
    assert open_bundle(signed).trusted is False
    assert open_bundle(signed, keys[1]).trusted is True


def test_format_is_what_is_documented(signed: Path, keys: Pair) -> None:
    """One line of base64: the key's SHA-256, then Ed25519 over the prefix and the manifest's bytes."""
    content = (signed / "manifest.sig").read_bytes()
    decoded = base64.b64decode(content)
    assert (len(content.splitlines()), len(content), len(decoded)) == (1, 129, 96)
    assert decoded[:32].hex() == fingerprint(keys[1])
    key = read_private_key(keys[0])
    assert key.sign(b"bertwire bundle manifest v1\n" + (signed / "manifest.json").read_bytes()) == decoded[32:]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_makes_keys_and_checks_signatures(bundle: Path, tmp_path: Path) -> None:
    """The documented commands: keys by openssl work here, and a signature made here is checked by openssl."""
    folder = Path(shutil.copytree(bundle, tmp_path / "copy"))

    def openssl(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["openssl", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert openssl("genpkey", "-algorithm", "ed25519", "-out", "key.pem").returncode == 0
    assert openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem").returncode == 0
    sign(folder, tmp_path / "key.pem")
    open_bundle(folder, tmp_path / "public.pem")
    (tmp_path / "message").write_bytes(DOMAIN + (folder / "manifest.json").read_bytes())
    (tmp_path / "signature").write_bytes(base64.b64decode((folder / "manifest.sig").read_bytes())[32:])
    check = (
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "public.pem",
        "-rawin",
        "-sigfile",
        "signature",
        "-in",
        "message",
    )
    assert openssl(*check).returncode == 0
    (tmp_path / "message").write_bytes((folder / "manifest.json").read_bytes())
    assert openssl(*check).returncode != 0


def test_inspect_says_who_signed(bundle: Path, signed: Path, keys: Pair) -> None:
    """Without a key inspect says whose signature it claims to be, and valid only with the key."""
    key = fingerprint(keys[1])
    assert "none" in next(line for line in run("inspect", bundle).stdout.splitlines() if "signature" in line)
    assert f"by key {key[:16]}, not checked" in run("inspect", signed).stdout
    assert f"by key {key[:16]}, valid" in run("inspect", signed, "--public-key", keys[1]).stdout
    assert json.loads(run("inspect", bundle, "--json").stdout)["signature"] is None
    assert json.loads(run("inspect", signed, "--json").stdout)["signature"] == {"key": key, "valid": None}
    known = run("inspect", signed, "--json", "--public-key", keys[1])
    assert json.loads(known.stdout)["signature"] == {"key": key, "valid": True}


@pytest.mark.parametrize("command", [("bundle", "verify"), ("inspect",), ("serve",)])
def test_refuses_what_the_key_did_not_sign(
    command: tuple[str, ...], bundle: Path, signed: Path, keys: Pair, other_keys: Pair
) -> None:
    """Every command that takes a key refuses a bundle that is unsigned, another's, or altered since, in one line."""
    extra: tuple[object, ...] = ("--port", 0) if command == ("serve",) else ()
    assert "the bundle is not signed" in refusal(*command, bundle, "--public-key", keys[1], *extra)
    mine, other = fingerprint(keys[1])[:16], fingerprint(other_keys[1])[:16]
    told = refusal(*command, signed, "--public-key", other_keys[1], *extra)
    assert f"signed by key {mine}, not by the key that was given, {other}" in told
    reseal(signed, lambda manifest: manifest.update(labels=["positive", "neutral", "negative"]))
    assert "altered after it was signed" in refusal(*command, signed, "--public-key", keys[1], *extra)
    assert "no such bundle" in refusal(*command, signed / "none", "--public-key", keys[1], *extra)


def test_serves_what_the_key_signed(serve: Serve, signed_once: Path, keys: Pair) -> None:
    """With the right key the server answers."""
    with serve(signed_once, "--public-key", keys[1]) as server, grpc.insecure_channel(server.address) as channel:
        assert ClassifierStub(channel).Classify(ClassifyRequest(texts=["w1"]), timeout=20).results


def test_only_the_signature_tells_a_consistent_forgery(signed: Path, keys: Pair, other_keys: Pair) -> None:
    """Files, hashes and seal all made to fit open without a key, whoever signs them; with the key they do not."""
    forged = (signed / "tokenizer.json").read_bytes().replace(b"w59", b"v59")
    (signed / "tokenizer.json").write_bytes(forged)
    rehash(signed)
    assert open_bundle(signed).read(open_bundle(signed).manifest.tokenizer) == forged
    with pytest.raises(BundleError, match="altered after it was signed"):
        open_bundle(signed, keys[1])
    sign(signed, other_keys[0])
    with pytest.raises(BundleError, match="not by the key that was given"):
        open_bundle(signed, keys[1])
    # The key's hash in the signature file is only a claim: to lie about it does not help.
    line = base64.b64decode((signed / "manifest.sig").read_bytes())
    claimed = bytes.fromhex(fingerprint(keys[1])) + line[32:]
    (signed / "manifest.sig").write_bytes(base64.b64encode(claimed) + b"\n")
    with pytest.raises(BundleError, match="altered after it was signed"):
        open_bundle(signed, keys[1])


def test_files_are_still_held_to_the_manifest(signed: Path, keys: Pair) -> None:
    """A good signature does not excuse a file that is not the one listed."""
    content = bytearray((signed / "int8-packed.onnx").read_bytes())
    content[-1] ^= 1
    (signed / "int8-packed.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"int8-packed\.onnx is not what was sealed"):
        open_bundle(signed, keys[1])


def test_signature_of_another_bundle_does_not_fit(signed: Path, bundle: Path, keys: Pair, tmp_path: Path) -> None:
    """A signature by the same key over another version's manifest is refused."""
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    reseal(other, lambda manifest: manifest.update(version="2"))
    sign(other, keys[0])
    open_bundle(other, keys[1])
    shutil.copy(other / "manifest.sig", signed / "manifest.sig")
    with pytest.raises(BundleError, match="altered after it was signed"):
        open_bundle(signed, keys[1])


def test_bare_signature_of_the_manifest_is_no_signature(signed: Path, keys: Pair) -> None:
    """What the key signed without the prefix, for another purpose, is not taken for a bundle's signature."""
    bare = read_private_key(keys[0]).sign((signed / "manifest.json").read_bytes())
    (signed / "manifest.sig").write_bytes(base64.b64encode(bytes.fromhex(fingerprint(keys[1])) + bare) + b"\n")
    with pytest.raises(BundleError, match="altered after it was signed"):
        open_bundle(signed, keys[1])


@pytest.mark.parametrize("position", range(96))
def test_refuses_flipped_bit_of_signature(signed_once: Path, keys: Pair, position: int, tmp_path: Path) -> None:
    """A bit changed in any byte of the signature, of the key's hash too, is found."""
    for each in signed_once.iterdir():
        (tmp_path / each.name).hardlink_to(each)
    line = bytearray(base64.b64decode((tmp_path / "manifest.sig").read_bytes()))
    line[position] ^= 1
    (tmp_path / "manifest.sig").unlink()
    (tmp_path / "manifest.sig").write_bytes(base64.b64encode(line) + b"\n")
    with pytest.raises(BundleError, match="signed"):
        open_bundle(tmp_path, keys[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:0],
        lambda line: line[-1:],
        lambda line: line[:-1],
        lambda line: line + b"\n",
        lambda line: line + line,
        lambda line: line[:-5] + b"\n",
        lambda line: b" " + line,
        lambda line: line.replace(b"\n", b"\r\n"),
        lambda line: b"AAAA" + line,
        lambda line: b"=" + line[1:],
        lambda line: b"\xff" + line[1:],
        lambda line: line * 200_000,
    ],
)
def test_refuses_what_is_no_signature(signed: Path, keys: Pair, change: Callable[[bytes], bytes]) -> None:
    """The signature's file has one form, with or without a key to check it."""
    (signed / "manifest.sig").write_bytes(change((signed / "manifest.sig").read_bytes()))
    for key in (None, keys[1]):
        with pytest.raises(BundleError, match=r"manifest\.sig is (no signature|larger)"):
            open_bundle(signed, key)


def test_signing_again_replaces(signed: Path, keys: Pair, other_keys: Pair) -> None:
    """The newest signature counts; the same key makes the same one."""
    first = (signed / "manifest.sig").read_bytes()
    sign(signed, other_keys[0])
    open_bundle(signed, other_keys[1])
    sign(signed, keys[0])
    assert (signed / "manifest.sig").read_bytes() == first


def test_signs_only_whole_bundles(bundle: Path, keys: Pair, tmp_path: Path) -> None:
    """A damaged bundle is not signed, and nothing is left in it."""
    folder = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (folder / "int8-packed.onnx").write_bytes(b"x")
    before = sorted(folder.iterdir())
    assert "int8-packed.onnx has 1 bytes" in refusal("bundle", "sign", folder, "--key", keys[0])
    assert sorted(folder.iterdir()) == before


def test_failed_signing_keeps_the_old_signature(
    signed: Path, other_keys: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the new signature cannot be put in its place the old one stays, and nothing beside it."""
    from bertwire_export.bundle_cli import SignConfig, run_sign

    before = {each.name: each.read_bytes() for each in signed.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UserError, match="no space left on the disk of"):
        run_sign(SignConfig(bundle=signed, key=other_keys[0]))
    assert {each.name: each.read_bytes() for each in signed.iterdir()} == before


ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
OTHERS: dict[str, Key] = {
    "p256": P256,
    "ed448": ed448.Ed448PrivateKey.generate(),
    "x25519": x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(pem(ED25519, password=b"secret"), "is encrypted; decrypt it first", id="encrypted"),
        pytest.param(public_pem(ED25519), "holds a public key; give the private key", id="public"),
        *(pytest.param(pem(key), "another algorithm than Ed25519", id=name) for name, key in OTHERS.items()),
        pytest.param(
            pem(P256, PrivateFormat.TraditionalOpenSSL), "no private key in PKCS#8 (EC PRIVATE KEY)", id="traditional"
        ),
        pytest.param(
            pem(P256, PrivateFormat.TraditionalOpenSSL, b"secret"),
            "is encrypted; decrypt it first",
            id="traditional-encrypted",
        ),
        pytest.param(
            pem(ED25519, PrivateFormat.OpenSSH), "no private key in PKCS#8 (OPENSSH PRIVATE KEY)", id="openssh"
        ),
        pytest.param(pem(ED25519) + pem(ED25519), "more than one PEM block", id="two-private"),
        pytest.param(pem(ED25519) + public_pem(ED25519), "more than one PEM block", id="private-and-public"),
        pytest.param(pem(ED25519).replace(b"\nM", b"\nN"), "is damaged", id="damaged"),
        pytest.param(pem(ED25519)[:60], "is damaged", id="cut"),
        pytest.param(b"", "is no key in PEM", id="empty"),
        pytest.param(b"\x00" * 100_000, "is no key in PEM", id="zeros"),
        pytest.param(
            ED25519.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), "is no key in PEM", id="der"
        ),
    ],
)
def test_refuses_unusable_private_key(tmp_path: Path, content: bytes, reason: str) -> None:
    """Only an Ed25519 private key in plain PKCS#8 signs; the reason is one line and shows nothing of the file."""
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_private_key(file)
    assert reason in str(caught.value)
    shows_nothing(str(caught.value), content)


PRIVATE = "holds a private key, which belongs on no server"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(pem(ED25519), PRIVATE, id="private"),
        pytest.param(pem(ED25519, password=b"secret"), PRIVATE, id="private-encrypted"),
        pytest.param(pem(ED25519, PrivateFormat.OpenSSH), PRIVATE, id="private-openssh"),
        *(pytest.param(public_pem(key), "another algorithm than Ed25519", id=name) for name, key in OTHERS.items()),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "holds no public key (CERTIFICATE)",
            id="certificate",
        ),
        pytest.param(public_pem(ED25519) * 2, "more than one PEM block", id="two"),
        pytest.param(public_pem(ED25519).replace(b"\nM", b"\nN"), "is damaged", id="damaged"),
        pytest.param(
            ED25519.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH), "is no key in PEM", id="openssh"
        ),
        pytest.param(b"", "is no key in PEM", id="empty"),
    ],
)
def test_refuses_unusable_public_key(tmp_path: Path, content: bytes, reason: str) -> None:
    """Only an Ed25519 public key checks; a private key is told to be out of place."""
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_public_key(file)
    assert reason in str(caught.value)
    shows_nothing(str(caught.value), content)


def shows_nothing(message: str, content: bytes) -> None:
    """Asserts that a message is one line with no line of a key's content in it."""
    assert message.isprintable()
    inner = [line for line in content.splitlines() if len(line) > 3 and b"-----" not in line]
    assert not any(line.decode("latin-1") in message for line in inner)


def test_refuses_key_files_that_cannot_be_read(signed: Path, tmp_path: Path) -> None:
    """A key that is not there, or is a folder, is one line; so is a key that is no key at all."""
    for option, command in (("--key", "sign"), ("--public-key", "verify")):
        assert "cannot read the key: No such file" in refusal("bundle", command, signed, option, tmp_path / "none")
        assert "cannot read the key: Is a directory" in refusal("bundle", command, signed, option, tmp_path)
        assert "is no key in PEM" in refusal("bundle", command, signed, option, signed / "manifest.json")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_warns_of_exposed_private_key(signed: Path, keys: Pair, tmp_path: Path, mode: int) -> None:
    """A private key that others can read is used, with one line of warning."""
    exposed = Path(shutil.copy(keys[0], tmp_path / "exposed.pem"))
    exposed.chmod(mode)
    done = run("bundle", "sign", signed, "--key", exposed)
    assert done.returncode == 0
    assert done.stderr == f"bertwire: warning: others can read {exposed}; keep it to yourself: chmod 600\n"


@pytest.mark.parametrize("command", [("bundle", "sign", "--key"), ("bundle", "verify", "--public-key")])
def test_nothing_of_a_private_key_is_shown(signed: Path, keys: Pair, command: tuple[str, ...]) -> None:
    """Neither its repr nor the words of a command hold the key, where it belongs and where it does not."""
    done = run(*command, keys[0], signed)
    shows_nothing((done.stdout + done.stderr).replace("\n", ""), keys[0].read_bytes())
    shows_nothing(repr(read_private_key(keys[0])), keys[0].read_bytes())


def test_group_has_help_and_its_usage_errors() -> None:
    """The group and its subcommands explain themselves; an unknown or incomplete one exits 2."""
    assert all(word in run("bundle", "--help").stdout for word in ("sign", "verify"))
    assert "--key" in run("bundle", "sign", "--help").stdout
    assert [run("bundle", *each).returncode for each in ((), ("nope",), ("sign", "x"))] == [2, 2, 2]


def test_cryptography_is_loaded_for_a_key_only(bundle: Path) -> None:
    """Without a key nothing of cryptography is imported, and without the package the line names its extra."""
    asked = "import sys\nfrom bertwire_cli.main import main\ntry: main()\nfinally: print('cryptography' in sys.modules)"
    for arguments in (["--help"], ["bundle", "--help"], ["inspect", str(bundle)]):
        command = [sys.executable, "-c", asked, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
    blocked = "import sys\nsys.modules['cryptography'] = None\nfrom bertwire_cli.main import main\nmain()"
    for name, options in (
        ("inspect", ["inspect", "--public-key", "x"]),
        ("bundle", ["bundle", "verify", "--public-key", "x"]),
    ):
        command = [sys.executable, "-c", blocked, *options, str(bundle)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        expected = (
            f"bertwire: bertwire {name} needs cryptography: pip install '.[sign]' in the folder of bertwire's source\n"
        )
        assert (done.returncode, done.stderr) == (1, expected)
