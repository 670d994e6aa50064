"""Scoring by a bundle in the process gives what its server gives."""

import json
from pathlib import Path

import pytest

from bertwire_batch import ScoreConfig, score_file
from support import Server, random_texts


def test_bundle_gives_what_its_server_gives(bundle: Path, server: Server, tmp_path: Path) -> None:
    """The same labels and scores; a text without a token fails alone."""
    path = tmp_path / "in.jsonl"
    texts = [*random_texts(70), "\u200b"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows = []
    for name, source in (("a", {"bundle": bundle}), ("b", {"server": [server.address]})):
        output = tmp_path / f"{name}.jsonl"
        summary = score_file(ScoreConfig(inputs=[path], output=output, all_scores=True, **source))
        assert summary.rows == len(texts)
        rows.append([json.loads(line) for line in output.read_text().splitlines()])
    ours, theirs = rows
    assert [each["predicted_label"] for each in ours] == [each["predicted_label"] for each in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["predicted_scores"] == (
            other["predicted_scores"] and pytest.approx(other["predicted_scores"], abs=1e-5)
        )
    assert {each["predicted_model"] for each in ours[:70]} == {each["predicted_model"] for each in theirs[:70]}
