"""The commands `bertwire export` and `bertwire inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from bertwire_core.console import err, out, print_json
from bertwire_core.errors import UserError
from bertwire_core.options import Config, argument, command
from bertwire_export.config import ExportConfig
from bertwire_export.facts import wider
from bertwire_export.tables import checked_table, manifest_table, outcome_table
from bertwire_export.tasks import TASK_EXPORTS
from bertwire_runtime.bundle import Bundle, open_bundle
from bertwire_runtime.bundle.saturation import bundle_products

if TYPE_CHECKING:
    from bertwire_export.pipeline import Outcome
    from bertwire_runtime.probe import Checked


class InspectConfig(Config):
    """Settings of `bertwire inspect`."""

    bundle: Path = argument("Folder of the bundle.")
    as_json: bool = Field(
        False, description="Print the manifest as JSON, for programs.", json_schema_extra={"flag": "--json"}
    )
    run: bool = Field(False, description="Run every variant on this machine: does it compute what was proven?")
    public_key: Path | None = Field(
        None, description="Ed25519 public key, PEM; the bundle must be signed by it. Default: no signature is checked."
    )


def run_export(config: ExportConfig) -> None:
    """Convert a checkpoint to ONNX, prove every candidate on labelled rows, and seal a bundle of the best.

    An encoder that was not trained here is exported for the vectors that it gives, and proven on texts.

    Of each precision the fastest graph that keeps its limits is published, for each provider of this machine. Where
    none of a precision keeps them, the reasons are printed and the exit status is 1; where none of any does, no bundle
    is written.
    """
    with err.status("Loading PyTorch"):
        from bertwire_export.pipeline import run

    outcome = run(config)
    out.print(outcome_table(outcome))
    for note in (*outcome.notes, *_cautions(outcome)):
        err.print(note, markup=False, highlight=False, soft_wrap=True)
    if outcome.manifest is not None:
        out.print(f"bundle: {config.output}\nreport: {config.report}", markup=False, highlight=False, soft_wrap=True)
    if reasons := _unpublished(outcome):
        raise UserError(
            f"{'; '.join(reasons)}; proven on {outcome.texts} texts: try more with --dev, train better, set the limits "
            "that you can accept (--fp32-..., --int8-...), or publish all the same with --force"
        )


def _cautions(outcome: "Outcome") -> list[str]:
    """Return what a reader of the table should know before trusting it."""
    found = []
    # fp32 is compared with PyTorch by its logits; the other precisions by scores, which few texts can change.
    limits = [each.proofs[0].limits for each in outcome.proven if each.built.precision != "fp32"]
    least = min(limits, key=lambda each: each.max_quality_drop, default=None)
    if least is not None and (worth := wider(least, outcome.reference.dev)):
        found.append(
            f"{outcome.texts} {TASK_EXPORTS[outcome.task].rows} are few: one that is decided otherwise changes a score "
            f"by more than the limit of {least.max_quality_drop:g}, so a score may lie below PyTorch's by what one is "
            f"worth{worth}; prove it on more with --dev"
        )
    return found


def _unpublished(outcome: "Outcome") -> list[str]:
    """Return why each precision is not published, by its fastest candidate; nothing where every one is."""
    published = {each.precision for each in outcome.manifest.variants} if outcome.manifest else set()
    found: dict[str, str] = {}
    for each in sorted(outcome.proven, key=lambda each: each.proofs[0].speed.cost):
        if each.built.precision not in published:
            reasons = ", ".join(dict.fromkeys(fault for proof in each.proofs for fault in proof.faults))
            found.setdefault(each.built.precision, f"{each.built.precision} is not published: {reasons}")
    return list(found.values())


def run_inspect(config: InspectConfig) -> None:
    """Verify every hash of a bundle and print what it holds and how well it does.

    With --run the exit status is 1 where a variant does not compute on this machine what was proven.
    """
    bundle = open_bundle(config.bundle, config.public_key)
    checked = _checked(bundle) if config.run else None
    if config.as_json:
        signature = bundle.signature and {"key": bundle.signature.fingerprint, "valid": bundle.trusted or None}
        document = bundle.manifest.model_dump(mode="json") | {
            "manifest_sha256": bundle.sha256,
            "verified": True,
            "signature": signature,
            "integer_products": {name: asdict(products) for name, products in bundle_products(bundle).items()},
        }
        if checked is not None:
            document["run"] = [asdict(each) | {"fault": each.fault} for each in checked]
        print_json(document, indent=2)
    else:
        out.print(manifest_table(bundle))
        if checked is not None:
            out.print(checked_table(checked))
    if faults := [each.fault for each in checked or () if each.fault]:
        raise UserError("; ".join(faults))


def _checked(bundle: Bundle) -> "list[Checked]":
    """Run the probe on every variant, on the providers of this machine."""
    from bertwire_runtime.engine import Engine
    from bertwire_runtime.probe import read_probe
    from bertwire_runtime.session import cuda_fault

    probe = read_probe(bundle)
    if probe is None:
        raise UserError(f"{bundle.path}: a bundle of schema 2 has no probe to run; export the checkpoint again")
    here = {"cpu"} if cuda_fault() else {"cpu", "cuda"}
    found = []
    for variant in bundle.manifest.variants:
        for provider in filter(here.__contains__, variant.providers):
            engine = Engine(bundle, variant, provider, threads=0)
            found.append(engine.check(probe))
            engine.close()
    if not found:
        known = ", ".join(sorted({each for variant in bundle.manifest.variants for each in variant.providers}))
        raise UserError(f"{bundle.path}: no variant of this bundle can run on this machine; they are for {known}")
    return found


export = command(ExportConfig, run_export)
inspect = command(InspectConfig, run_inspect)
