"""The proof that goes with a bundle: any machine can run it, and what computes something else is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bertwire_export.int8 import Floats
from bertwire_export.packed import linear
from bertwire_runtime.bundle import BundleError, open_bundle
from bertwire_runtime.bundle.manifest import Variant
from bertwire_runtime.engine import Engine, choose_engine
from bertwire_runtime.probe import Checked, Expected, Probe, TokenSequence, read_probe, run_probe
from damaged import flip, lose_positions
from graphs import export
from rows import ROWS, Made
from support import WORDS, Edit, bertwire, in_process, rehash, reseal


def check(folder: Path) -> dict[str, Checked]:
    """Runs the probe of a bundle on each of its variants."""
    bundle = open_bundle(folder)
    probe = read_probe(bundle)
    assert probe is not None
    return {each.name: Engine(bundle, each, "cpu", 1).check(probe) for each in bundle.manifest.variants}


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be changed."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def edit_probe(folder: Path, edit: Edit) -> None:
    """Edits the probe and seals the bundle again."""
    probe = json.loads((folder / "probe.json").read_bytes())
    edit(probe)
    (folder / "probe.json").write_text(json.dumps(probe))
    rehash(folder)


def test_right_bundle_is_as_proven(bundle: Path) -> None:
    """Every variant gives its own logits again."""
    found = check(bundle)
    assert {name: (each.fault, each.differing) for name, each in found.items()} == {
        "fp32-packed": (None, 0),
        "int8-packed": (None, 0),
    }


@pytest.mark.parametrize("kind", ROWS)
def test_right_bundle_of_each_task(make_task: Callable[[str], Made], kind: str) -> None:
    """So do those of other tasks: pairs with their segments, tags with logits for every token."""
    made = make_task(kind)
    assert [each.fault for each in check(made.bundle).values()] == [None] * len(made.manifest.variants)
    probe = json.loads((made.bundle / "probe.json").read_bytes())
    assert any(1 in each["type_ids"] for each in probe["sequences"]) == (kind == "pairs")


def test_sequences_are_random_words_between_special_tokens(bundle: Path, checkpoint: Path) -> None:
    """Of real lengths, and with nothing of a text: a word's id is any of the vocabulary's."""
    sequences = [each["ids"] for each in json.loads((bundle / "probe.json").read_bytes())["sequences"]]
    rows = (checkpoint / "predictions" / "dev.jsonl").read_text().splitlines()
    lengths = [min(len(json.loads(row)["text"].split()) + 2, 32) for row in rows]
    assert len(sequences) == 64
    assert {min(lengths), max(lengths), 8} <= {len(each) for each in sequences} <= {*lengths, 8}
    assert [len(each) for each in sequences[:32]] == [min(8, len(each)) for each in sequences[32:]]
    assert {each[0] for each in sequences} == {2}
    assert {each[-1] for each in sequences} == {3}
    words = {token for each in sequences for token in each[1:-1]}
    assert words == set(range(5, 5 + len(WORDS)))


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_bit_of_a_weight_is_found(copy: Path, seed: int) -> None:
    """Though every hash and the seal are right again; the other variant is as it was."""
    name, other = ("int8-packed", "fp32-packed")[:: 1 if seed < 10 else -1]
    weight = flip(copy, f"{name}.onnx", seed)
    found = check(copy)
    assert found[other].fault is None
    fault = found[name].fault
    assert fault is not None, (weight, found[name])
    assert fault.startswith(f"{name} does not compute on this machine (cpu) what was proven: on ")


def test_products_that_saturate_are_found(
    bundle: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that use all of int8 are right where they were proven, and wrong on a processor without VNNI."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        pytest.skip("qemu-x86_64, of the package qemu-user, is not installed")

    def by_the_largest(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
        scale = np.abs(weight).max(axis=0) / np.float32(127)
        return np.rint(weight / scale).astype(np.int8), scale

    monkeypatch.setattr(linear, "quantize_weight", by_the_largest)
    export(checkpoint, tmp_path / "saturating", variants=["int8"], int8_max_batch_variance=9)
    # Both in one process: an emulated processor takes longest to import.
    code = (
        "import sys; from bertwire_export import cli;"
        "cli.run_inspect(cli.InspectConfig(bundle=sys.argv[1], run=True)); print('the first is right');"
        "cli.run_inspect(cli.InspectConfig(bundle=sys.argv[2], run=True))"
    )
    command = [qemu, "-cpu", "Haswell", sys.executable, "-c", code, str(bundle), str(tmp_path / "saturating")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "the first is right" in done.stdout, done.stderr
    assert done.returncode == 1
    assert "what was proven" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("precision", "value", "differing", "fault"),
    [
        ("int8", 0.05, 8, False),
        ("int8", 0.05, 9, True),
        ("int8", 0.5, 1, True),
        ("int8", float("nan"), 1, True),
        ("fp32", 0.05, 1, True),
        ("fp32", 5e-6, 8, False),
        ("fp32", 5e-6, 9, True),
    ],
)
def test_a_few_sequences_may_differ(precision: str, value: float, differing: int, fault: bool) -> None:
    """One in eight, by little: in int8 a rounding difference may change all of a sequence."""
    known: dict[str, Any] = {"name": "a", "precision": precision}
    variant = Variant.model_construct(**known)
    sequences = tuple(TokenSequence(ids=(1, 2), type_ids=(0, 0)) for _ in range(64))
    expected = Expected(variant="a", provider="cpu", tolerances=(1e-6,) * 64, logits=((0.0, 0.0, 0.0),) * 64)
    rows = [np.full(3, value if place < differing else 0, np.float32) for place in range(64)]
    found = run_probe(Probe(sequences=sequences, expected=(expected,)), variant, "cpu", lambda _: rows)
    assert (found.differing, found.fault is not None) == (differing, fault)


@pytest.mark.parametrize("variant", ["fp32-packed", "int8-packed"])
def test_wrong_positions_are_found(copy: Path, variant: str) -> None:
    """They change long texts only, of which a probe may have no more than may deviate, but change those by much."""
    before = check(copy)[variant]
    lose_positions(copy, f"{variant}.onnx", from_row=8)
    found = check(copy)[variant]
    assert before.fault is None
    assert found.largest is not None
    assert found.largest > found.most
    assert found.fault is not None


def _drop_variant(probe: dict[str, Any]) -> None:
    probe["expected"] = [each for each in probe["expected"] if each["variant"] != "int8-packed"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_drop_variant, "has no logits of variant int8-packed on cpu"),
        (lambda probe: probe["sequences"].pop(), "has no logits of variant"),
        (lambda probe: probe["sequences"].clear(), "wrong at sequences"),
        (lambda probe: probe["sequences"][0]["type_ids"].pop(), "wrong at sequences.0"),
        (lambda probe: probe["expected"][0]["tolerances"].pop(), "wrong at expected.0"),
        (lambda probe: probe["expected"][0]["tolerances"].__setitem__(3, 0), "wrong at expected.0.tolerances.3"),
        (lambda probe: probe["expected"][0].update(more=1), "wrong at expected.0.more"),
    ],
)
def test_refuses_probe_that_is_none(copy: Path, edit: Edit, reason: str) -> None:
    """Sealed, and still no probe of this bundle: one line says what is wrong with it."""
    edit_probe(copy, edit)
    with pytest.raises(BundleError, match=reason) as caught:
        choose_engine(open_bundle(copy), "int8", "cpu", 1)
    assert str(caught.value).isprintable()


def test_graph_that_fails_is_not_as_proven(copy: Path) -> None:
    """A token that the model does not have ends the run; the reason is told."""
    edit_probe(copy, lambda probe: probe["sequences"][0]["ids"].__setitem__(1, 99_999))
    fault = check(copy)["fp32-packed"].fault
    assert fault is not None
    assert fault.startswith("fp32-packed fails on the bundle's probe: ")


def test_inspect_runs_it(copy: Path) -> None:
    """`--run` says of each variant how far off it is, as JSON too, and its exit status tells a wrong one."""
    here = in_process("inspect", copy, "--run", "--json")
    assert (here.exit_code, here.stderr) == (0, "")
    right = json.loads(here.stdout)["run"]
    assert [each["fault"] for each in right] == [None, None]
    flip(copy, "int8-packed.onnx", 0)
    done = subprocess.run(bertwire("inspect", copy, "--run"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Run on this machine" in done.stdout
    assert done.stderr.startswith("bertwire: error: int8-packed does not compute on this machine (cpu) what was proven")
    assert len(done.stderr.splitlines()) == 1


def test_bundle_of_schema_2_has_none(copy: Path) -> None:
    """It opens, says that it is not proven on its machine, and has nothing to run."""

    def older(manifest: dict[str, Any]) -> None:
        del manifest["probe"]
        manifest["schema_version"] = 2

    (copy / "probe.json").unlink()
    reseal(copy, older)
    engine = choose_engine(open_bundle(copy), None, "cpu", 1)
    assert (engine.proven, engine.passed_over) == (False, "")
    shown = in_process("inspect", copy)
    assert "not proven on the machines that serve it" in " ".join(shown.stdout.replace("│", " ").split())
    run = in_process("inspect", copy, "--run")
    assert (run.exit_code, "schema 2 has no probe" in run.stderr) == (1, True)
