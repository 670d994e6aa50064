"""Scoring by a bundle in the process gives what its server gives."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertwire_batch import ScoreConfig, score_file
from bertwire_batch.answers import Answers, Text
from bertwire_core.errors import UserError
from bertwire_runtime.output import Output
from bertwire_runtime.predictor import Predictor
from support import Serve, random_texts


def test_bundle_gives_what_its_server_gives(bundle: Path, serve: Serve, tmp_path: Path) -> None:
    """The same labels, scores, version and form."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in random_texts(70)))

    def scored(name: str, **options: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - each its own type
        output = tmp_path / f"{name}.jsonl"
        score_file(ScoreConfig(inputs=[path], output=output, all_scores=True, **options))
        return [json.loads(line) for line in output.read_text().splitlines()]

    with serve(bundle) as server:
        theirs = scored("theirs", server=[server.address])
    ours = scored("ours", bundle=bundle)
    for one, other in zip(ours, theirs, strict=True):
        assert one.pop("predicted_scores") == pytest.approx(other.pop("predicted_scores"), abs=1e-5)
        assert one.pop("predicted_score") == pytest.approx(other.pop("predicted_score"), abs=1e-5)
        assert one == other


def test_text_that_fails_fails_alone(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a text makes the model raise, and a score that is not finite, is an error of its row."""
    run = Predictor.run

    def failing(self: Predictor, texts: Sequence[Text]) -> list[Output]:
        if "worst" in texts:
            raise RuntimeError("no kernel for that")
        outputs = run(self, texts)
        nan = np.full(len(self.manifest.labels), np.nan, np.float32)
        return [replace(each, scores=nan) if text == "bad" else each for text, each in zip(texts, outputs, strict=True)]

    monkeypatch.setattr(Predictor, "run", failing)
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("one", "bad", "two", "worst", "three")))
    assert score_file(ScoreConfig(inputs=[path], output=output, bundle=bundle)).failed == 2
    errors = [json.loads(line)["predicted_error"] for line in output.read_text().splitlines()]
    assert errors == [None, "the model gives a number that is not finite", None, "no kernel for that", None]


def test_other_bundle_of_the_same_name_does_not_go_on(bundle: Path, tmp_path: Path) -> None:
    """Answers are of one bundle's content."""
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "one"}\n')
    summary = score_file(ScoreConfig(inputs=[path], output=tmp_path / "first.jsonl", bundle=bundle))
    about = {"job": "score", "model": summary.model, "version": summary.model_version, "bundle": "another"}
    (tmp_path / "out.jsonl.partial").mkdir()
    with Answers(tmp_path / "out.jsonl.partial" / "answers.sqlite", about | {"threshold": None, "all_scores": False}):
        pass
    with pytest.raises(UserError, match='with bundle "another" and not'):
        score_file(ScoreConfig(inputs=[path], output=output, bundle=bundle))
