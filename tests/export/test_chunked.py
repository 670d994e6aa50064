"""Models that read long texts in chunks: what the report and the measured speed say of a text."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bertwire_export import measure
from bertwire_export.measure import speeds
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.predictor import Predictor
from graphs import export
from support import LABELS, random_texts


def test_report_counts_texts_cut_behind_their_chunks(checkpoint_copy: Path, tmp_path: Path) -> None:
    """As many as the bundle cuts, not those that are longer than one chunk."""
    record = checkpoint_copy / "training.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"chunks": 3, "chunk_overlap": 4}))
    # 3 chunks of 30 words hold 30 + 26 + 26 words.
    texts = [" ".join(["w1"] * count) for count in (82, 83, 5, 30, 31, 56, 57)] + random_texts(30, longest=120)
    dev = tmp_path / "dev.jsonl"
    rows = ({"text": text, "label": LABELS[place % 3]} for place, text in enumerate(texts))
    dev.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert export(checkpoint_copy, tmp_path / "out", variants=["fp32"], dev=dev).manifest is not None
    predictor = Predictor(open_bundle(tmp_path / "out"), threads=1)
    encoded = predictor.encode(texts)
    predictor.close()
    assert [each.truncated for each in encoded[:7]] == [False, True, False, False, False, False, False]
    page = (tmp_path / "out.report.html").read_text()
    cut = np.mean([each.truncated for each in encoded])
    assert f"{cut:.2%} of the texts have more than the 3 chunks of 32 tokens that the model reads, and are cut." in page
    chunks = np.mean([len(each.chunks()) for each in encoded])
    assert f"A text has {chunks:.2f} chunks on average." in page
    assert "texts of at most 3 chunks of 32 tokens" in page


class Clock:
    """A clock that a runner moves on by a millisecond for each chunk that it runs."""

    def __init__(self) -> None:
        self.seconds, self.batches = 0.0, list[int]()

    def arrange(self, batch: list[Any]) -> list[Any]:
        """The batch as it is."""
        return batch

    def run(self, batch: list[Any]) -> None:
        """Take the time of the batch."""
        self.batches.append(len(batch))
        self.seconds += len(batch) / 1e3

    def read(self) -> float:
        """The time."""
        return self.seconds


@pytest.mark.parametrize(
    ("chunks", "cost", "batches"),
    [
        ([1] * 300, 1.0, [32, 32, 32, 32]),
        ([3] * 300, 3.0, [32, 32, 32, 30]),
        ([1, 5, 1, 5], 3.0, [12]),
        ([200, 1], 200.0, [32] * 6 + [8]),
    ],
)
def test_speed_is_of_a_text(
    monkeypatch: pytest.MonkeyPatch, chunks: list[int], cost: float, batches: list[int]
) -> None:
    """All chunks of a text are its cost; whole texts are timed, of some 4 batches of chunks."""
    clock = Clock()
    monkeypatch.setattr(measure, "time", SimpleNamespace(thread_time=clock.read, perf_counter=clock.read))
    texts = [[SimpleNamespace(ids=[1, 2, 3])] * count for count in chunks]
    found = speeds({"fp32": cast(Any, clock)}, cast(Any, texts), "cpu", "a processor")["fp32"]
    assert [found.cpu_ms_per_text, found.ms_per_text] == pytest.approx([cost, cost])
    assert clock.batches == [*batches[:1], *batches * 3]
