"""Labelled rows as export reads them: tokens, first pieces of words, and what the logits of a text decide."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_data.labelled import Labelled
from bertwire_export.examples import Examples, encode

TAGS = ["O", "B-x", "I-x"]


def tokenizer(max_length: int = 8, side: str = "right") -> Tokenizer:
    """Splits `abc` into `a`, `##b` and `##c`, and puts [CLS] before and [SEP] behind a text."""
    vocabulary = ["[UNK]", "[CLS]", "[SEP]", "a", "##b", "##c", "d"]
    made = Tokenizer(WordPiece({token: index for index, token in enumerate(vocabulary)}, unk_token="[UNK]"))  # noqa: S106
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_truncation(max_length, direction=side)
    return made


def rows(task: Task, inputs: list[object], targets: list[object]) -> Labelled:
    """Labelled rows of a task."""
    return Labelled("dev", task, inputs, targets, list(range(1, len(inputs) + 1)))  # type: ignore[arg-type]


def tagged(*words: list[str], max_length: int = 8, side: str = "right") -> Examples:
    """Texts of words, each tagged O but for the last word, which is B-x."""
    tags = [["O"] * (len(each) - 1) + ["B-x"] for each in words]
    return encode(tokenizer(max_length, side), rows("token_classification", list(words), list(tags)), TAGS)


def pieces(examples: Examples) -> list[list[int]]:
    """The places of the words' first pieces."""
    assert examples.first_pieces is not None
    return [each.tolist() for each in examples.first_pieces]


def test_word_is_at_its_first_piece() -> None:
    """A word of several pieces is where its first one is; special tokens are no word."""
    examples = tagged(["abc", "d", "ab"], ["d"])
    assert examples.encodings[0].tokens == ["[CLS]", "a", "##b", "##c", "d", "a", "##b", "[SEP]"]
    assert pieces(examples) == [[1, 4, 5], [1]]
    assert [len(each.ids) for each in examples.encodings] == [8, 3]
    assert examples.targets.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("side", "found"),
    [
        # [CLS] a ##b ##c d a [SEP]: the last word's second piece is cut off, the word is not.
        ("right", [[1, 4, 5, -1]]),
        # [CLS] ##c d a ##b d [SEP]: of the first word its last piece is left, and it decides.
        ("left", [[1, 2, 3, 5]]),
    ],
)
def test_word_that_was_cut(side: str, found: list[list[int]]) -> None:
    """A word without any piece left has no place; one with some is at the first that is left."""
    assert pieces(tagged(["abc", "d", "ab", "d"], max_length=7, side=side)) == found


def test_word_that_has_no_token() -> None:
    """A word that the tokenizer makes nothing of has no place either."""
    examples = tagged(["d", "\u200b\u2028", "d"])
    assert [len(each) for each in pieces(examples)] == [3]
    assert pieces(examples)[0][0] == 1


def test_words_that_were_cut_decide_outside() -> None:
    """Of each text the logits at its words' places decide, in order; a word without a place is O."""
    examples = tagged(["d", "d"], ["abc", "d", "d"], max_length=5)
    assert pieces(examples) == [[1, 2], [1, -1, -1]]
    logits = [np.arange(12, dtype=np.float32).reshape(4, 3), 100 + np.arange(15, dtype=np.float32).reshape(5, 3)]
    decided = examples.decided(logits)
    assert decided.tolist() == [[3, 4, 5], [6, 7, 8], [103, 104, 105], [1, 0, 0], [1, 0, 0]]
    assert decided.dtype == np.float32


def test_texts_decide_by_their_row() -> None:
    """Where a text has one row of logits, that decides."""
    examples = encode(tokenizer(), rows("single_label", ["a", "d d"], ["x", "y"]), ["x", "y"])
    assert examples.first_pieces is None
    logits = [np.array([0, 1], np.float32), np.array([2, 3], np.float32)]
    assert examples.decided(logits).tolist() == [[0, 1], [2, 3]]
    assert examples.score(examples.decided(logits)) == {"macro_f1": pytest.approx(1 / 3), "accuracy": 0.5}


def test_score_counts_cut_entities_as_missed() -> None:
    """The last word of each text is an entity; the text whose last word was cut off has it missed."""
    examples = tagged(["d", "d"], ["abc", "d", "d"], max_length=5)
    right = np.zeros((5, 3), np.float32)
    right[np.arange(5), examples.targets] = 1
    place = {text: np.zeros((5, 3), np.float32) for text in range(2)}
    place[0][1:3], place[1][1] = right[:2], right[2]
    assert examples.score(examples.decided([place[0], place[1]])) == {
        "f1": pytest.approx(2 / 3),
        "precision": 1,
        "recall": 0.5,
    }


def test_pairs_have_segments() -> None:
    """Both texts of a pair are read, the second in a segment of its own."""
    (encoding,) = encode(tokenizer(), rows("single_label", [("a", "d d")], ["x"]), ["x", "y"]).encodings
    assert encoding.type_ids == [0, 0, 0, 1, 1, 1]


def test_split_is_of_the_rows() -> None:
    """The manifest's entry names the source and has the rows' number and fingerprint."""
    labelled = rows("regression", ["a", "d"], [1.0, 2.0])
    split = encode(tokenizer(), labelled, ["stars"]).split()
    assert (split.source, split.texts, split.sha256) == ("dev", 2, labelled.sha256())


def test_refuses_unknown_label() -> None:
    """A label that the model has not is named."""
    with pytest.raises(UserError, match="label 'z'"):
        encode(tokenizer(), rows("single_label", ["a", "d"], ["x", "z"]), ["x", "y"])
