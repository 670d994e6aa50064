"""`bertwire export` as a user calls it: what it prints, what it writes, and its exit status."""

import os
import subprocess
import sys
from pathlib import Path

from bertwire_runtime.bundle import open_bundle
from support import bertwire, in_process

# Random weights in int8 decide some of a thousand texts otherwise than PyTorch.
STRICT = ("--quick", "--int8-min-agreement", 1, "--int8-max-drop", 0, "--int8-max-batch-variance", 0)


def errors(stderr: str) -> list[str]:
    """The lines of standard error that are errors."""
    assert "Traceback" not in stderr
    return [line for line in stderr.splitlines() if line.startswith("bertwire: error: ")]


def test_publishes_what_keeps_its_limits(checkpoint: Path, thousand_rows: Path, tmp_path: Path) -> None:
    """Where int8 breaks its limits fp32 is published alone; one line says why, and the exit status is 1.

    A process of its own on a terminal of 80 columns: the table fits, and both places stand at the end.
    """
    output = tmp_path / "out"
    command = bertwire("export", checkpoint, "--output", output, "--dev", thousand_rows, *STRICT)
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, env=environment)
    (line,) = errors(done.stderr)
    assert done.returncode == 1
    assert line.startswith("bertwire: error: int8 is not published: it decides as PyTorch in ")
    assert "proven on 1000 texts: try more with --dev" in line
    assert done.stdout.splitlines()[-2:] == [f"bundle: {output}", f"report: {output}.report.html"]
    assert max(map(len, done.stdout.splitlines()[:-2])) <= 80
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "out.report.html"]
    manifest = open_bundle(output).manifest
    assert [each.precision for each in manifest.variants] == ["fp32"]
    (rejected,) = manifest.candidates
    assert rejected.proofs[0].faults[0] in line


def test_force_publishes_all_the_same(checkpoint: Path, thousand_rows: Path, tmp_path: Path) -> None:
    """--force publishes int8 with its faults, which the bundle and the table tell, and exits with 0."""
    output = tmp_path / "out"
    done = in_process("export", checkpoint, "--output", output, "--dev", thousand_rows, *STRICT, "--force")
    assert (done.exit_code, errors(done.stderr)) == (0, [])
    assert "forced" in done.stdout
    assert done.stdout.splitlines()[-2:] == [f"bundle: {output}", f"report: {output}.report.html"]
    forced = {each.name: each for each in open_bundle(output).manifest.variants}
    assert {name: each.forced for name, each in forced.items()} == {"fp32-packed": False, "int8-packed": True}
    proof = forced["int8-packed"].proofs[0]
    assert "it decides as PyTorch in" in proof.faults[0]
    assert proof.limits.min_label_agreement == 1


def test_writes_nothing_where_nothing_keeps_its_limits(checkpoint: Path, tmp_path: Path) -> None:
    """Neither bundle nor report is there; the measurements are printed all the same."""
    options = ("--variants", "fp32", "--quick", "--fp32-max-logit-difference", 0)
    done = in_process("export", checkpoint, "--output", tmp_path / "out", *options)
    (line,) = errors(done.stderr)
    assert done.exit_code == 1
    assert "fp32 is not published: a logit differs by " in line
    assert "Proven on 100 dev texts" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_inspect_needs_the_command_line_extra_alone(bundle: Path) -> None:
    """A bundle is read and shown without numpy and all that computes."""
    blocked = ("numpy", "scipy", "sklearn", "onnx", "onnxruntime", "tokenizers", "torch", "transformers", "jinja2")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}));"
        "from bertwire_cli.main import main; sys.argv[1:] = ['inspect', sys.argv[1]]; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, bundle], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "every hash verified" in done.stdout
