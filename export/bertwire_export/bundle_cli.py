"""The commands `bertwire bundle sign` and `bertwire bundle verify`."""

from pathlib import Path

from pydantic import Field
from rich.console import Console

from bertwire_core.console import err, out
from bertwire_core.files import whole_file
from bertwire_core.options import Config, argument, command
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.bundle.manifest import SIGNATURE
from bertwire_runtime.bundle.signature import describe, sign_manifest


class SignConfig(Config):
    """Settings of `bertwire bundle sign`."""

    bundle: Path = argument("Folder of the bundle.")
    key: Path = Field(description="Ed25519 private key, PEM (PKCS#8), from openssl genpkey -algorithm ed25519.")


class VerifyConfig(Config):
    """Settings of `bertwire bundle verify`."""

    bundle: Path = argument("Folder of the bundle.")
    public_key: Path = Field(description="Ed25519 public key, PEM, from openssl pkey -pubout.")


def run_sign(config: SignConfig) -> None:
    """Verify every hash of a bundle and sign its manifest, replacing a signature that it has."""
    from bertwire_runtime.bundle.keys import read_private_key

    key = read_private_key(config.key)
    if key.exposed:
        _say(err, f"bertwire: warning: others can read {config.key}; keep it to yourself: chmod 600")
    bundle = open_bundle(config.bundle)
    signature = sign_manifest(bundle.manifest_bytes, key)
    with whole_file(config.bundle / SIGNATURE) as partial:
        partial.write_bytes(signature.line())
    _say(out, f"{config.bundle}: signed by key {signature.key}")


def run_verify(config: VerifyConfig) -> None:
    """Verify every hash of a bundle and that it was signed by a key."""
    bundle = open_bundle(config.bundle, config.public_key)
    _say(out, f"{config.bundle}: signature {describe(bundle.signature, trusted=bundle.trusted)}; every hash verified")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


bundle = {"sign": command(SignConfig, run_sign), "verify": command(VerifyConfig, run_verify)}
