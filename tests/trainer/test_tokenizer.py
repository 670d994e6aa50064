"""The tokens of a base are those of its own tokenizer.json, whatever class the checkpoint names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE, WordLevel, WordPiece
from tokenizers.normalizers import NFKC, BertNormalizer, Lowercase, Normalizer, Replace, Sequence, StripAccents
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Digits, PreTokenizer, Whitespace
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.processors import ByteLevel as TrimOffsets
from tokenizers.processors import RobertaProcessing, TemplateProcessing
from tokenizers.processors import Sequence as Processors
from transformers import AutoTokenizer, DebertaConfig, PreTrainedConfig, RobertaConfig

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_runtime.tokenizer import TextTokenizer
from bertwire_trainer.base import Base
from bertwire_trainer.tokenizer import load_tokenizer

UNKNOWN = "[UNK]"
SPECIAL = ["[CLS]", "[PAD]", "[SEP]", UNKNOWN, "[MASK]"]
NAMES = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
TEXT = "This is tr\u00e8s \uff47\uff4f\uff4f\uff44 42"


def put(
    folder: Path, rust: Tokenizer, class_name: str | None, special: dict[str, str], config: PreTrainedConfig
) -> Base:
    """Writes what a base has beside its weights; raw, as files from elsewhere are."""
    folder.mkdir()
    rust.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": class_name} if class_name else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | special))
    config.save_pretrained(folder)
    return Base(folder.name, str(folder), local=True)


def pieces() -> Tokenizer:
    """WordPiece of letters, digits and some words."""
    letters = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1))]
    words = [
        *SPECIAL,
        "this",
        "This",
        "is",
        "tr\u00e8s",
        "tres",
        "good",
        "42",
        *letters,
        *(f"##{each}" for each in letters),
    ]
    rust = Tokenizer(WordPiece({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    rust.pre_tokenizer = BertPreTokenizer()
    rust.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)])
    rust.add_special_tokens(SPECIAL)
    return rust


def byte_level(*, prefix: bool, cut: bool = True) -> Tokenizer:
    """BPE of bytes, as RoBERTa's."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = [*special, *sorted(ByteLevel.alphabet()), "Be", "ĠBe", "Ġa"]
    merges = [("B", "e"), ("Ġ", "Be"), ("Ġ", "a")]
    rust = Tokenizer(BPE({name: index for index, name in enumerate(names)}, merges))
    rust.pre_tokenizer = ByteLevel(add_prefix_space=prefix)
    rust.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=cut, add_prefix_space=prefix)
    rust.add_special_tokens(special)
    return rust


def normalized(normalizer: Normalizer, pre_tokenizer: PreTokenizer | None = None) -> Tokenizer:
    rust = pieces()
    rust.normalizer = normalizer
    if pre_tokenizer is not None:
        rust.pre_tokenizer = pre_tokenizer
    return rust


def words_only() -> Tokenizer:
    rust = Tokenizer(WordLevel({word: index for index, word in enumerate([*SPECIAL, "This", "is"])}, unk_token=UNKNOWN))
    rust.pre_tokenizer = Whitespace()
    rust.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 2)])
    rust.add_special_tokens(SPECIAL)
    return rust


@pytest.mark.parametrize("class_name", ["RobertaTokenizerFast", "BertTokenizerFast", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: normalized(Sequence([NFKC(), StripAccents()]), Steps([Whitespace(), Digits(individual_digits=True)])),
        lambda: normalized(BertNormalizer(strip_accents=False, lowercase=True)),
        lambda: normalized(BertNormalizer(lowercase=False)),
        lambda: normalized(Lowercase()),
        lambda: normalized(Replace(Regex("s+"), "z")),
        words_only,
    ],
    ids=["nfkc-digits", "keep-accents", "cased", "lowercase", "replace", "words"],
)
def test_own_steps(tmp_path: Path, class_name: str, make: Callable[[], Tokenizer]) -> None:
    """Normalizers, steps before the subwords and the kind of model stay as the file has them, also when saved."""
    rust = make()
    base = put(tmp_path / "base", rust, class_name, NAMES, RobertaConfig())
    require_same(base, rust, "single_label", tmp_path)


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize(
    ("class_name", "config"),
    [("RobertaTokenizer", RobertaConfig()), ("DebertaTokenizer", DebertaConfig()), (None, RobertaConfig())],
    ids=["roberta", "deberta", "by-config"],
)
def test_own_prefix_space(tmp_path: Path, class_name: str | None, config: PreTrainedConfig, prefix: bool) -> None:
    """Whether a text's first word is read as after a space is what the file says."""
    rust = byte_level(prefix=prefix)
    special = {} if class_name is None else {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    base = put(tmp_path / "base", rust, class_name, special, config)
    require_same(base, rust, "single_label", tmp_path)


def require_same(base: Base, rust: Tokenizer, task: Task, tmp_path: Path) -> None:
    """Holds training's tokenizer, and the saved one as anyone loads it, to the file's."""
    tokenizer = load_tokenizer(base, task, "right")
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_bytes((Path(base.location) / "config.json").read_bytes())
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    expected = rust.encode(TEXT).ids
    assert tokenizer(TEXT)["input_ids"] == expected
    assert saved(TEXT)["input_ids"] == expected
    assert Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json")).encode(TEXT).ids == expected


@pytest.mark.parametrize("class_name", ["RobertaTokenizer", "DebertaTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("steps", ["roberta", "sequence", "untrimmed"])
def test_words_have_their_own_places(tmp_path: Path, class_name: str, steps: str) -> None:
    """Words read as after a space lie where they lie in the text; a second space is no word."""
    rust = byte_level(prefix=False, cut=steps == "roberta")
    if steps == "sequence":
        rust.pre_tokenizer = Steps([Digits(), ByteLevel(add_prefix_space=False)])
        template = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
        rust.post_processor = Processors([TrimOffsets(trim_offsets=True, add_prefix_space=False), template])
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    base = put(tmp_path / "base", rust, class_name, special, RobertaConfig())
    tokenizer = load_tokenizer(base, "token_classification", "right")
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_bytes((Path(base.location) / "config.json").read_bytes())
    words = ["Berlin", "a", "Be"]
    expected = tokenizer([words], is_split_into_words=True)["input_ids"][0]
    assert tokenizer.convert_ids_to_tokens(expected)[1] == "ĠBe"
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")([words], is_split_into_words=True)["input_ids"] == [
        expected
    ]
    server = TextTokenizer((tmp_path / "saved" / "tokenizer.json").read_bytes(), 32, "right", words=True)
    texts = ["Berlin a Be", "Berlin  a   Be ", " Berlin\n\na Be"]
    encoded = server.encode(texts)
    assert encoded[0].ids == expected
    for text, each in zip(texts, encoded, strict=True):
        assert [text[start:end] for _, start, end in each.words] == words


def test_special_tokens_that_only_the_class_knows(tmp_path: Path) -> None:
    """A padding token that the class would add to the vocabulary is none of the checkpoint's."""
    base = put(tmp_path / "base", pieces(), "RobertaTokenizer", {}, RobertaConfig())
    with pytest.raises(UserError, match="has no fast tokenizer with a padding token"):
        load_tokenizer(base, "single_label", "right")


def test_how_the_file_cuts_and_pads_is_left_out(tmp_path: Path) -> None:
    """Files as sentence encoders have them, cut to their own length and padded, read whole texts."""
    rust = pieces()
    rust.enable_truncation(4)
    rust.enable_padding(length=8)
    base = put(tmp_path / "base", rust, "BertTokenizer", NAMES, RobertaConfig())
    tokenizer = load_tokenizer(base, "single_label", "left")
    assert (tokenizer.truncation_side, tokenizer.padding_side) == ("left", "right")
    assert len(tokenizer("a b c d e f g h i j")["input_ids"]) == 12


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0"}'])
def test_a_file_that_is_no_tokenizer(tmp_path: Path, content: str) -> None:
    """It is one line, which names the base."""
    base = put(tmp_path / "base", pieces(), "PreTrainedTokenizerFast", NAMES, RobertaConfig())
    (tmp_path / "base" / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"^--model base cannot be loaded: [^\n]+$"):
        load_tokenizer(base, "single_label", "right")
