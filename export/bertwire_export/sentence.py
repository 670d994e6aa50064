"""Read how a folder of sentence-transformers makes a vector of a text.

`modules.json` lists the modules in order; the first is the encoder, the second pools, a third may normalize. These are
the files of release 6.2 (sentence_transformers/base/model.py, sentence_transformer/modules/pooling.py); older releases
name the pooling by a switch for each kind.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertwire_core.errors import UserError
from bertwire_core.pooling import Pooled, Pooling

MODULES = "modules.json"
# Files with the most tokens of a text, by the classes that older releases wrote them for.
_LENGTHS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json")
_POOLED: dict[str, Pooled] = {"cls": "first", "mean": "mean", "max": "max"}
_SWITCHES = {f"pooling_mode_{name}": name for name in ("lasttoken", "cls_token", "max_tokens", "mean_tokens")} | {
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


@dataclass(frozen=True)
class Sentence:
    """What a folder says of its vectors.

    Attributes:
        folder: the folder of the encoder and its tokenizer.
        pooling: how its tokens become a vector; None where the folder does not say.
        max_length: most tokens of a text; None where the folder does not say.
        prompt: whether its own library puts a text before each.
    """

    folder: Path
    pooling: Pooling | None = None
    max_length: int | None = None
    prompt: bool = False


def read_sentence(path: Path) -> Sentence:
    """Read the files of a folder; without `modules.json` it is an encoder alone.

    Raises:
        UserError: a file is no JSON of its kind, or the modules make a vector that no graph here does.
    """
    if not (path / MODULES).is_file():
        return Sentence(path)
    modules = _read(path / MODULES, list)
    kinds = [str(each.get("type", "")).rpartition(".")[2] if isinstance(each, dict) else "" for each in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UserError(
            f"{path / MODULES} has the modules {', '.join(kinds)}; only Transformer, Pooling and Normalize, in this "
            "order, can be exported"
        )
    encoder, pooling = (path / str(each.get("path", "")) for each in modules[:2])
    tokens = _pooled(pooling / "config.json")
    settings = [_read(encoder / name, dict) for name in _LENGTHS if (encoder / name).is_file()]
    if any(each.get("do_lower_case") is True for each in settings):
        raise UserError(
            f"{encoder} makes texts lower case before its tokenizer (do_lower_case), which is not done here; let "
            "tokenizer.json do it, and set do_lower_case to false"
        )
    lengths = [each["max_seq_length"] for each in settings if isinstance(each.get("max_seq_length"), int)]
    own = path / "config_sentence_transformers.json"
    prompt = own.is_file() and bool(_read(own, dict).get("default_prompt_name"))
    return Sentence(encoder, Pooling(tokens, normalize=len(kinds) == 3), min(lengths, default=None), prompt)


def _pooled(path: Path) -> Pooled:
    config = _read(path, dict)
    given = config.get("pooling_mode") or [name for switch, name in _SWITCHES.items() if config.get(switch)]
    modes = [given] if isinstance(given, str) else given
    names = [str(each).removesuffix("_tokens").removesuffix("_token") for each in modes]
    if len(names) != 1 or names[0] not in _POOLED:
        raise UserError(
            f"{path} pools by {' and '.join(names) or 'nothing'}; only one of {', '.join(_POOLED)} can be exported"
        )
    return _POOLED[names[0]]


def _read(path: Path, kind: type) -> Any:  # noqa: ANN401 - any JSON
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; the folder is not whole") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, kind):
        raise UserError(f"{path} holds no JSON {'array' if kind is list else 'object'}")
    return found
