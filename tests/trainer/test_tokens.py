"""Token ids, the alignment of words and their pieces, and what comes back for each word."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

from bertwire_data.labelled import Labelled, encode_targets
from bertwire_trainer.base import find_base
from bertwire_trainer.loading import load_model, reads_type_ids
from bertwire_trainer.predict import predict
from bertwire_trainer.result import save
from bertwire_trainer.tokenizer import load_tokenizer
from bertwire_trainer.tokens import TokenDataset

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "new", "york", "##er", "##s", "in", "a"]
TAGS = ["O", "B-x", "I-x"]


@pytest.fixture
def tokenizer() -> BertTokenizer:
    """WordPiece, by which `Yorkers` is the pieces york ##er ##s."""
    return BertTokenizer({piece: index for index, piece in enumerate(PIECES)})


def tagged(words: list[list[str]], tags: list[list[str]]) -> Labelled:
    return Labelled("rows", "token_classification", words, tags, list(range(1, len(words) + 1)))


def dataset(tokenizer: PreTrainedTokenizerBase, labelled: Labelled, max_length: int = 32) -> TokenDataset:
    return TokenDataset(tokenizer, labelled, encode_targets(labelled, TAGS), max_length, type_ids=False)


def test_tags_stand_on_first_pieces(tokenizer: BertTokenizer) -> None:
    """The first piece of each word has its tag; other pieces and special tokens are left out of the loss."""
    labelled = tagged([["In", "New", "Yorkers"], ["a"]], [["O", "B-x", "I-x"], ["B-x"]])
    tokens = dataset(tokenizer, labelled)
    names = tokenizer.convert_ids_to_tokens(tokens[0]["input_ids"])
    assert names == ["[CLS]", "in", "new", "york", "##er", "##s", "[SEP]"]
    assert tokens[0]["labels"] == [-100, 0, 1, 2, -100, -100, -100]
    assert tokens[1]["labels"] == [-100, 1, -100]
    assert (tokens.rows(0).tolist(), tokens.rows(1).tolist()) == ([0, 1, 2], [3])


def test_words_that_are_cut_off_or_have_no_piece(tokenizer: BertTokenizer) -> None:
    """Words behind the last token, and words of characters that the tokenizer drops, have no row."""
    labelled = tagged([["In", "\u200b", "New", "Yorkers", "a"]], [["O", "O", "B-x", "I-x", "O"]])
    tokens = dataset(tokenizer, labelled, max_length=5)
    assert tokenizer.convert_ids_to_tokens(tokens[0]["input_ids"]) == ["[CLS]", "in", "new", "york", "[SEP]"]
    assert tokens[0]["labels"] == [-100, 0, 1, 2, -100]
    assert tokens.rows(0).tolist() == [0, 2, 3]


def test_words_cut_on_the_left(tokenizer: BertTokenizer) -> None:
    """A word of which only the last pieces are left has its tag on the first of those."""
    tokenizer.truncation_side = "left"
    tokens = dataset(tokenizer, tagged([["In", "Yorkers", "a"]], [["O", "B-x", "O"]]), max_length=4)
    assert tokenizer.convert_ids_to_tokens(tokens[0]["input_ids"]) == ["[CLS]", "##s", "a", "[SEP]"]
    assert tokens[0]["labels"] == [-100, 1, 0, -100]
    assert tokens.rows(0).tolist() == [1, 2]


def test_logits_go_to_their_words(tokenizer: BertTokenizer) -> None:
    """Each word has the logits of its first piece in a run of that text alone; a word without any decides O."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=dict(enumerate(TAGS)),
        initializer_range=0.5,
    )
    model = BertForTokenClassification(config).eval()
    words = [["Yorkers", "in", "Yorkers", "a", "a"], ["a"], ["In", "New", "Yorkers"]]
    labelled = tagged(words, [["O"] * len(each) for each in words])
    logits = predict(model, tokenizer, dataset(tokenizer, labelled, max_length=7), TAGS, "test")
    assert (logits.shape, str(logits.dtype)) == ((9, 3), "float32")
    assert logits[[3, 4]].tolist() == [[1, 0, 0], [1, 0, 0]]
    for rows, pieces, places in (
        ([0, 1, 2], [6, 7, 8, 9, 6], [1, 4, 5]),
        ([5], [10], [1]),
        ([6, 7, 8], [9, 5, 6, 7, 8], [1, 2, 3]),
    ):
        with torch.inference_mode():
            alone = model(torch.tensor([[2, *pieces, 3]])).logits[0, places]
        torch.testing.assert_close(torch.from_numpy(logits[rows]), alone, atol=1e-5, rtol=0)


def test_pairs_have_token_types_and_lose_the_longer_text(tokenizer: BertTokenizer) -> None:
    """The second text has type 1; a pair that is too long loses tokens of the longer text."""
    labelled = Labelled("rows", "single_label", [("in new york", "a a"), ("a", "a in a in a in")], ["O", "O"], [1, 2])
    tokens = TokenDataset(tokenizer, labelled, encode_targets(labelled, TAGS), 7, type_ids=True)
    names = [tokenizer.convert_ids_to_tokens(tokens[index]["input_ids"]) for index in range(2)]
    assert names[0] == ["[CLS]", "in", "new", "[SEP]", "a", "a", "[SEP]"]
    assert names[1] == ["[CLS]", "a", "[SEP]", "a", "in", "a", "[SEP]"]
    assert tokens[0]["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert tokens[1] == {"input_ids": tokens[1]["input_ids"], "token_type_ids": [0, 0, 0, 1, 1, 1, 1], "labels": 0}


def test_labels_of_each_task(tokenizer: BertTokenizer) -> None:
    """Items hold plain Python values, which the collator turns into int64 or float32 tensors."""
    several = Labelled("rows", "multi_label", ["a"], [["b"]], [1])
    tokens = TokenDataset(tokenizer, several, encode_targets(several, ["a", "b"]), 8, type_ids=False)
    assert tokens[0] == {"input_ids": [2, 10, 3], "labels": [0.0, 1.0]}
    number = Labelled("rows", "regression", ["a"], [2.5], [1])
    tokens = TokenDataset(tokenizer, number, encode_targets(number, ["label"]), 8, type_ids=False)
    assert tokens[0]["labels"] == 2.5


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    """A random RoBERTa with bytes, ` a` and ` b` for tokens, which reads no token types."""
    symbols = sorted(ByteLevel.alphabet())
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *symbols, "Ġa", "Ġb"]
    vocab = {name: index for index, name in enumerate(names)}
    merges: Any = [("Ġ", "a"), ("Ġ", "b")]  # typed as strings, read as pairs
    RobertaTokenizer(vocab=vocab, merges=merges).save_pretrained(tmp_path / "roberta")
    config = RobertaConfig(
        vocab_size=len(names),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        pad_token_id=1,
        type_vocab_size=1,
    )
    RobertaModel(config).save_pretrained(tmp_path / "roberta")
    return tmp_path / "roberta"


def test_words_of_byte_level_tokenizers(byte_level: Path, tmp_path: Path) -> None:
    """Every word is read as after a space, and the saved tokenizer.json alone reads it so too."""
    base = find_base(str(byte_level))
    tokenizer = load_tokenizer(base, "token_classification", "right")
    tokens = dataset(tokenizer, tagged([["a", "ba", "b"]], [["O", "B-x", "O"]]))
    names = tokenizer.convert_ids_to_tokens(tokens[0]["input_ids"])
    assert names == ["<s>", "Ġa", "Ġb", "a", "Ġb", "</s>"]
    assert tokens[0]["labels"] == [-100, 0, 1, -100, 0, -100]
    save(load_model(base, "token_classification", TAGS), tokenizer, tmp_path / "saved")
    saved = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert saved.encode(["a", "ba", "b"], is_pretokenized=True).tokens == names
    again = load_tokenizer(find_base(str(tmp_path / "saved")), "token_classification", "right")
    assert again.convert_ids_to_tokens(again([["a", "b"]], is_split_into_words=True)["input_ids"][0])[1:3] == [
        "Ġa",
        "Ġb",
    ]


def test_byte_level_behind_another_step(byte_level: Path) -> None:
    """The byte level is found where it is one of several steps."""
    path = byte_level / "tokenizer.json"
    rust = Tokenizer.from_file(str(path))
    rust.pre_tokenizer = Sequence([Digits(), ByteLevel(add_prefix_space=False)])
    rust.save(str(path))
    settings: dict[str, Any] = json.loads((byte_level / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    (byte_level / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(find_base(str(byte_level)), "token_classification", "right")
    assert tokenizer.convert_ids_to_tokens(tokenizer([["a", "b"]], is_split_into_words=True)["input_ids"][0])[1:3] == [
        "Ġa",
        "Ġb",
    ]


def test_texts_of_byte_level_tokenizers_are_read_as_before(byte_level: Path) -> None:
    """Whole texts begin without a space, as the encoder was pre-trained."""
    tokenizer = load_tokenizer(find_base(str(byte_level)), "single_label", "right")
    assert tokenizer.tokenize("a b") == ["a", "Ġb"]


def test_which_models_read_token_types(byte_level: Path, tiny: Path) -> None:
    """BERT tells the second text by its token types; RoBERTa has one type."""
    assert reads_type_ids(load_model(find_base(str(tiny)), "single_label", ["a", "b"]))
    assert not reads_type_ids(load_model(find_base(str(byte_level)), "single_label", ["a", "b"]))
