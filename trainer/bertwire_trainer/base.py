"""The encoder checkpoint that training starts from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bertwire_core.errors import UserError, first_line
from bertwire_core.files import unicode_name
from bertwire_core.lfs import require_fetched
from bertwire_core.minilm import NAME, minilm_folder

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "spm.model")


@dataclass(frozen=True, slots=True)
class Base:
    """Where a base checkpoint is.

    Attributes:
        name: its name in records; never an absolute path.
        location: the folder, absolute, or the hub id.
        local: whether it is a folder, for which nothing may try the network.
    """

    name: str
    location: str
    local: bool


def hidden_size(base: Base) -> int:
    """Return the hidden size that a local checkpoint's config.json names; BERT-base's, 768, where it is not known."""
    if not base.local:
        return 768
    config = json.loads((Path(base.location) / "config.json").read_bytes())
    return next((config[name] for name in ("hidden_size", "dim", "d_model") if isinstance(config.get(name), int)), 768)


def find_base(model: str) -> Base:
    """Resolve `--model`: the installed MiniLM, a local folder or a hub id; raise `UserError` for a missing folder."""
    if model == NAME:
        return Base(model, str(minilm_folder("--model")), local=True)
    try:
        path = Path(model).expanduser()
    except RuntimeError as error:  # ~name, where there is no such user
        raise UserError(f"--model {model}: no such folder") from error
    if path.is_dir():
        _require_files(path)
        return Base(unicode_name(path.resolve()), str(path.resolve()), local=True)
    if path.exists() or path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise UserError(f"--model {model}: no such folder")
    return Base(model, model, local=False)


def _require_files(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise UserError(f"--model {folder} is no checkpoint: it has no config.json")
    require_fetched(*sorted(folder.iterdir()))
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"--model {folder}: its config.json is not JSON: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise UserError(f"--model {folder}: its config.json is not a JSON object")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"--model {folder} has no *.safetensors weights; other formats can run code, so convert it first"
        )
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise UserError(f"--model {folder} has no tokenizer; it needs a tokenizer.json")


@contextmanager
def one_line(base: Base) -> Iterator[None]:
    """Raise `UserError` for whatever libraries raise in the block, which loads a part of the checkpoint."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # safetensors, tokenizers, transformers and torch each raise their own
        raise UserError(f"--model {base.name} cannot be loaded: {first_line(error)}") from error
