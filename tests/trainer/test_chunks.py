"""Long texts as chunks of token ids."""

from pathlib import Path

import numpy
import pytest
from transformers import BertTokenizer

from bertwire_core.chunks import KEY, Chunks, read_chunks
from bertwire_core.errors import UserError
from bertwire_data.labelled import Columns, encode_targets, read_labelled
from bertwire_trainer.config import TrainConfig
from bertwire_trainer.tokens import TokenDataset

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture
def dataset(tmp_path: Path) -> TokenDataset:
    """Texts of 9, 2 and 30 words in chunks of 4 words, of which 1 is the one before; 3 chunks at most."""
    path = tmp_path / "rows.csv"
    texts = [" ".join(f"w{at}" for at in range(count)) for count in (9, 2, 30)]
    path.write_text("text,label\n" + "".join(f"{text},{at % 2}\n" for at, text in enumerate(texts)))
    rows = read_labelled(path, Columns())
    tokenizer = BertTokenizer({word: at for at, word in enumerate([*SPECIAL, *(f"w{at}" for at in range(30))])})
    return TokenDataset(tokenizer, rows, encode_targets(rows, ["0", "1"]), 6, type_ids=False, chunks=Chunks(3, 1))


def test_first_chunks_come_first(dataset: TokenDataset) -> None:
    """Items are the texts, then the further chunks; each has the label of its text."""
    assert (len(dataset), dataset.texts, dataset.cut) == (7, 3, 1)
    assert [dataset.text(item) for item in range(7)] == [0, 1, 2, 0, 0, 2, 2]
    assert [dataset[item]["labels"] for item in range(7)] == [0, 1, 0, 0, 0, 0, 0]
    words = [[token - 5 for token in dataset[item]["input_ids"][1:-1]] for item in (0, 3, 4)]
    assert words == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8]]


def test_mean_by_text(dataset: TokenDataset) -> None:
    """What is computed for each item becomes the mean over the items of a text."""
    values = numpy.arange(7, dtype=numpy.float32)[:, None]
    assert dataset.by_text(values)[:, 0].tolist() == pytest.approx([(0 + 3 + 4) / 3, 1, (2 + 5 + 6) / 3])


@pytest.mark.parametrize("value", [3, {"count": 2}, {"count": 0, "overlap": 1}, {"count": 2, "overlap": 0.5}])
def test_field_that_says_nothing(value: object) -> None:
    """A field of another form is one line."""
    with pytest.raises(UserError, match=f"config.json has {KEY}"):
        read_chunks({KEY: value})


def test_overlap_that_leaves_nothing() -> None:
    """A chunk must have something new."""
    with pytest.raises(ValueError, match="--chunk-overlap is above half of --max-length; choose less"):
        TrainConfig(train=Path("a.csv"), output=Path("b"), chunks=2, max_length=16, chunk_overlap=9)
