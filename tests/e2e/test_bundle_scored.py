"""Scoring by a bundle in the process gives what its server gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertwire_batch import ScoreConfig, score_file
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
