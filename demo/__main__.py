"""Labelled text becomes a gRPC service that answers: fetch, train, export, serve, score, report.

Run it with `make demo`. Everything lies under build/demo; what is whole and still valid there is used again.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertwire_core.console import err, out
from bertwire_core.errors import UserError
from bertwire_core.process import interrupt_on_signals, readable
from bertwire_core.standard import open_streams
from demo import vader
from demo.steps import Clock, bertwire, code_hash, content_hash, keep, made_from, process, run, started_from

# One epoch over few texts; without class weights the model rarely predicts neutral, a sixth of the texts.
RECIPE = (
    *("--epochs", "1", "--learning-rate", "1.5e-4", "--batch-size", "32", "--max-length", "64"),
    *("--class-weights", "balanced", "--no-report"),
)

CALLS_IN_FLIGHT = 16


def main() -> None:
    """Run the demo and print its results."""
    open_streams()
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--short", action="store_true", help="take a tenth of all texts, to see that all parts work")
    short = parser.parse_args().short
    interrupt_on_signals()
    with readable("demo"):
        _demo(Path("build/demo-short" if short else "build/demo"), short)


def _demo(work: Path, short: bool) -> None:
    clock = Clock()
    with clock.step("texts"):
        rows = vader.read(vader.fetch(Path("build/vader")))
        splits = vader.split(rows[:: 10 if short else 1], work)
    with clock.step("training"):
        checkpoint = train(work / "checkpoint", splits)
    with clock.step("export"):
        bundle = export(work / "vader", checkpoint, short)
    scored, summary = work / "scored.csv", work / "summary.json"
    with clock.step("serving and scoring"), _server(bundle) as address:
        run(
            *("score", splits["test"], "--output", scored, "--summary", summary, "--overwrite"),
            *("--server", address, "--batch-size", 1, "--concurrency", CALLS_IN_FLIGHT),
        )
    _report(scored, summary)
    out.print(f"\ntexts: {work}/*.csv   checkpoint: {checkpoint}   bundle: {bundle}   predictions: {scored}")
    out.print(f"what was measured, with plots: {_page(bundle)}")
    out.print(f"serve it yourself: .venv/bin/bertwire serve {bundle}")
    out.print(f"time taken: {clock}", highlight=False, soft_wrap=True)


def train(output: Path, splits: dict[str, Path]) -> Path:
    """Train on the splits, or resume, or return the checkpoint that was made from them; return its folder."""
    inputs = {name: content_hash(path) for name, path in splits.items()}
    inputs |= {"recipe": " ".join(RECIPE), "code": code_hash("bertwire_trainer")}
    if made_from(output, inputs):
        err.print(f"{output} is whole and made from these texts: used again")
        return output
    files = [part for name, path in splits.items() for part in (f"--{name}", path)]
    shutil.rmtree(output, ignore_errors=True)
    # --resume needs the same texts, recipe and code; a resumed run that fails, as on a full disk, keeps its checkpoint.
    how = "--resume" if started_from(output, inputs) else "--overwrite"
    run("train", *files, "--output", output, *RECIPE, how)
    keep(output, inputs)
    return output


def export(output: Path, checkpoint: Path, short: bool) -> Path:
    """Export the checkpoint unless a bundle and report of it are there; return the bundle's folder."""
    inputs = {"checkpoint": content_hash(checkpoint), "short": str(short), "code": code_hash("bertwire_export")}
    if made_from(output, inputs) and _page(output).is_file():
        err.print(f"{output} is whole and made from this checkpoint: used again")
        return output
    # Of the short form's 230 dev texts, one is half of int8's default limit.
    limits = ("--int8-min-agreement", 0.9, "--int8-max-drop", 0.05) if short else ()
    run("export", checkpoint, "--output", output, "--overwrite", *limits)
    run("inspect", output)
    keep(output, inputs)
    return output


def _page(bundle: Path) -> Path:
    """Return the path of export's report."""
    return bundle.with_name(f"{bundle.name}.report.html")


@contextmanager
def _server(bundle: Path) -> Iterator[str]:
    """Serve the bundle on a free port, yield the address, and stop the server gracefully."""
    command = bertwire("serve", bundle, "--port", 0, "--shutdown-delay-seconds", 0, "--log-level", "warning")
    with process(command, stdout=subprocess.PIPE) as server:
        line = server.stdout.readline() if server.stdout else ""
        match = re.search(r" at (\S+)$", line)
        if not match:
            raise UserError("the server did not start; see above")
        err.print(line.strip())
        yield match[1]
        server.terminate()
        if code := server.wait(60):
            raise UserError(f"the server ended with exit status {code}")
    err.print("the server drained and exited with status 0")


def _report(scored: Path, summary: Path) -> None:
    from sklearn.metrics import classification_report

    with scored.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["predicted_label"]]
    truth, predicted = [row["label"] for row in rows], [row["predicted_label"] for row in rows]
    out.rule("Held-out test texts, scored through gRPC", align="left")
    out.print(classification_report(truth, predicted, digits=3), highlight=False)
    seen = json.loads(summary.read_text(encoding="utf-8"))
    out.print(
        f"{seen['rows']} texts, {seen['failed']} failed, one text a call, {CALLS_IN_FLIGHT} calls in flight: "
        f"{seen['texts_per_second']:.0f} texts/s; latency p50 {seen['latency_p50_ms']:.1f} ms, "
        f"p95 {seen['latency_p95_ms']:.1f} ms, p99 {seen['latency_p99_ms']:.1f} ms",
        highlight=False,
    )


if __name__ == "__main__":
    main()
