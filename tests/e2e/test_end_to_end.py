"""Real pretrained weights on real texts, by the commands that a user types: train, export, inspect, serve, score."""

import csv
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from demo import vader
from support import Serve, bertwire

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> str:
    """Runs a `bertwire` command that must succeed, and gives its standard output."""
    done = subprocess.run(bertwire(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(600)
def test_labelled_text_becomes_a_service(tmp_path: Path, serve: Serve) -> None:
    """Every test text is answered over gRPC, far better than by chance, as PyTorch answered it."""
    rows = vader.read(vader.fetch(ROOT / "build" / "vader"))
    splits = vader.split(rows[::24], tmp_path)
    checkpoint, bundle, scored = tmp_path / "checkpoint", tmp_path / "sentiment", tmp_path / "scored.csv"
    files = [part for name, path in splits.items() for part in (f"--{name}", path)]
    recipe = ("--no-report", "--epochs", 1, "--max-length", 48, "--learning-rate", 5e-4)

    run("train", *files, "--output", checkpoint, *recipe)
    # On some 100 dev texts one text more or less is what int8 may lose by default.
    run("export", checkpoint, "--output", bundle, "--quick", "--int8-min-agreement", 0.9, "--int8-max-drop", 0.05)
    manifest = json.loads(run("inspect", bundle, "--json"))
    with serve(bundle) as server:
        run("score", splits["test"], "--output", scored, "--server", server.address, "--batch-size", 1)

    answers = read(scored)
    given = read(splits["test"])
    assert [(row["text"], row["label"]) for row in answers] == [(row["text"], row["label"]) for row in given]
    truth, predicted = [row["label"] for row in answers], [row["predicted_label"] for row in answers]
    assert f1_score(truth, predicted, average="macro") > 0.5
    assert sum(map(str.__eq__, truth, predicted)) > 1.2 * max(Counter(truth).values())

    by_torch = [json.loads(line) for line in (checkpoint / "predictions" / "test.jsonl").read_text().splitlines()]
    agreed = sum(row["predicted"] == label for row, label in zip(by_torch, predicted, strict=True))
    assert agreed > 0.9 * len(predicted)
    assert json.loads((checkpoint / "training.json").read_text())["pooling"]["tokens"] == "mean"
    variants = {each["precision"]: each for each in manifest["variants"]}
    assert variants.keys() == {"fp32", "int8"}
    assert variants["int8"]["layout"] == "packed"
    assert variants["int8"]["proofs"][0]["batch_variance"] == 0
    assert bundle.with_name("sentiment.report.html").is_file()
    assert manifest["provenance"]["dev"]["texts"] == len(read(splits["dev"]))
