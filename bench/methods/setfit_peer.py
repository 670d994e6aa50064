"""SetFit's own training and score; run by the Python of an environment that has setfit.

`python bench/methods/setfit_peer.py BASE TRAIN TEST SEED ITERATIONS` prints one JSON object: accuracy and seconds.
ITERATIONS is num_iterations; with 0, setfit's own default, every pair of texts.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from datasets import Dataset  # type: ignore[import-untyped]
from setfit import SetFitModel, Trainer, TrainingArguments  # type: ignore[import-not-found]


def _main(base: str, train: str, test: str, seed: str, iterations: str) -> None:
    begun = time.perf_counter()
    rows = _read(train)
    labels = sorted({row["label"] for row in rows})
    numbered = Dataset.from_list([{"text": row["text"], "label": labels.index(row["label"])} for row in rows])
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_iterations=int(iterations) or None,
            seed=int(seed),
            report_to="none",
            show_progress_bar=False,
            save_strategy="no",
        )
        trainer = Trainer(model=SetFitModel.from_pretrained(base), args=arguments, train_dataset=numbered)
        trainer.train()
    asked = _read(test)
    answers = trainer.model.predict([row["text"] for row in asked], show_progress_bar=False)
    right = [labels[int(answer)] == row["label"] for answer, row in zip(answers, asked, strict=True)]
    print(json.dumps({"accuracy": sum(right) / len(right), "seconds": round(time.perf_counter() - begun, 1)}))


def _read(path: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    _main(*sys.argv[1:])
