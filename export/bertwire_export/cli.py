"""The commands `bertwire export` and `bertwire inspect`."""

import json
import sys
from pathlib import Path

from pydantic import Field

from bertwire_client.console import err, out
from bertwire_client.errors import UserError
from bertwire_client.options import Config, argument, command
from bertwire_export.bundle import open_bundle
from bertwire_export.config import ExportConfig
from bertwire_export.tables import manifest_table, outcome_table


class InspectConfig(Config):
    """Settings of `bertwire inspect`."""

    bundle: Path = argument("Folder of the bundle.")
    as_json: bool = Field(
        False, description="Print the manifest as JSON, for programs.", json_schema_extra={"flag": "--json"}
    )
    public_key: Path | None = Field(
        None, description="Ed25519 public key, PEM; the bundle must be signed by it. Default: no signature is checked."
    )


def run_export(config: ExportConfig) -> None:
    """Convert a checkpoint to ONNX, prove every variant on labelled texts, and seal a bundle.

    A variant that breaks a limit is left out, the reason is printed and the exit status is 1. Where no variant keeps
    its limits, no bundle is written.
    """
    with err.status("Loading PyTorch"):
        from bertwire_export.pipeline import run

    outcome = run(config)
    out.print(outcome_table(outcome))
    failed = [candidate for candidate in outcome.candidates if candidate.faults]
    if len(failed) < len(outcome.candidates):
        out.print(f"bundle: {config.output}", markup=False, highlight=False)
    if failed:
        reasons = "; ".join(f"{each.precision} is not published: {', '.join(each.faults)}" for each in failed)
        raise UserError(
            f"{reasons}; proven on {outcome.texts} texts: try more with --dev, train better, or set the limits "
            "that you can accept (--fp32-..., --int8-...)"
        )


def run_inspect(config: InspectConfig) -> None:
    """Verify every hash of a bundle and print what it holds and how well it does."""
    bundle = open_bundle(config.bundle, config.public_key)
    if config.as_json:
        signature = bundle.signature and {"key": bundle.signature.fingerprint, "valid": bundle.trusted or None}
        document = bundle.manifest.model_dump(mode="json") | {
            "manifest_sha256": bundle.sha256,
            "verified": True,
            "signature": signature,
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        out.print(manifest_table(bundle))


export = command(ExportConfig, run_export)
inspect = command(InspectConfig, run_inspect)
