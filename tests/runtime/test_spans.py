"""Words of a text that can be left out."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from bertwire_runtime.spans import words
from bertwire_runtime.tokenizer import TextTokenizer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w1 goodxy, (bad)!", ["w1", "goodxy", "bad"]),
        ("  don't\tw1...", ["don", "t", "w1"]),
        ("\u4e2d\u6587w1\u3002", ["\u4e2d", "\u6587", "w1"]),
        ("e\u0301te\u0301 \U0001f642 50%", ["e\u0301te\u0301", "\U0001f642", "50"]),
        ("good" + "x" * 9 + " w1", ["good", *"x" * 9, "w1"]),
        ("?!", []),
    ],
)
def test_words_of_a_text(task_base: Path, text: str, expected: list[str]) -> None:
    """Return the pre-tokenizer's words as a reader sees them, without punctuation; long ones token by token."""
    tokenizer = TextTokenizer((task_base / "tokenizer.json").read_bytes(), 32, "right")
    (found,) = tokenizer.words(text)
    assert [text[start:end] for start, end in found] == expected


def test_words_of_a_pair_that_is_cut(task_base: Path) -> None:
    """Return those that the model reads of each text, by its own places, on the side that is kept."""
    tokenizer = TextTokenizer((task_base / "tokenizer.json").read_bytes(), 8, "right")
    pair = ("w1 w2 w3 w4", "bad w5 w6 w7")
    read = {}
    for side in ("right", "left"):
        first, second = tokenizer.words(pair, side)
        read[side] = [pair[0][start:end] for start, end in first], [pair[1][start:end] for start, end in second]
    assert len(read["right"][0]) + len(read["right"][1]) == 5
    assert read["right"][0] == pair[0].split()[: len(read["right"][0])]
    assert read["right"][1] == pair[1].split()[: len(read["right"][1])]
    assert read["left"][0] == pair[0].split()[4 - len(read["left"][0]) :]
    assert read["left"][1] == pair[1].split()[4 - len(read["left"][1]) :]


def test_tokens_of_bytes_keep_characters_whole() -> None:
    """Tokens that share a character make one span, and spans lie apart, in order."""
    vocabulary = {each: place for place, each in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    text = "\u4e2d\u6587\u5b57\u7b26\u6d4b\u8bd5"
    (found,) = words(tokenizer.encode(text), (text,))
    assert [text[start:end] for start, end in found] == list(text)


def test_text_without_pre_tokenizer_is_taken_token_by_token() -> None:
    """As of models of scripts without spaces."""
    text = "abcdefghijkl"
    content = {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "", "max_input_chars_per_word": 100}
    vocabulary = {each: place for place, each in enumerate(["?", *text])}
    tokenizer = Tokenizer.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], "model": content | {"vocab": vocabulary}})
    )
    (found,) = words(tokenizer.encode(text), (text,))
    assert [text[start:end] for start, end in found] == list(text)
