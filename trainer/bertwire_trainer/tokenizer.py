"""The tokenizer of a base checkpoint: what its own tokenizer.json says, whatever class the checkpoint names.

transformers builds most classes anew from the vocabulary and leaves out what tokenizer.json says besides: its
normalizer, the steps before the subwords, even the kind of its model. So the file's tokenizer is put into the general
class, which keeps it as it is and saves it so.
"""

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from bertwire_core.errors import UserError
from bertwire_core.tasks import Task
from bertwire_trainer.base import Base, one_line
from bertwire_trainer.tasks import SPECS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(base: Base, task: Task, truncation_side: str) -> "PreTrainedTokenizerBase":
    """Load the fast tokenizer; raise `UserError` where the checkpoint has none.

    For a task by word, a byte-level tokenizer reads each word as if a space preceded it, as in running text.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with one_line(base):
        named = AutoTokenizer.from_pretrained(base.location, local_files_only=base.local, trust_remote_code=False)
        rust = _own(base, named) if named.is_fast else None
    # A class's own special tokens may be others than the file's.
    special = {} if rust is None else _known(named.special_tokens_map, rust)
    if rust is None or "pad_token" not in special or rust.get_vocab_size() <= len(set(special.values())):
        raise UserError(f"--model {base.name} has no fast tokenizer with a padding token; it needs a tokenizer.json")
    if SPECS[task].by_word:
        rust = _with_prefix_spaces(rust)
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        **special,
        model_max_length=named.model_max_length,
        model_input_names=named.model_input_names,
        truncation_side=truncation_side,
        padding_side="right",
    )


def _own(base: Base, named: "PreTrainedTokenizerBase") -> Tokenizer:
    """Return the tokenizer of tokenizer.json; where the checkpoint has a vocabulary only, the one its class builds."""
    from transformers.utils.hub import cached_file

    # Only a file that is missing gives None; what went wrong otherwise is raised.
    file = cached_file(
        base.location, "tokenizer.json", local_files_only=base.local, _raise_exceptions_for_missing_entries=False
    )
    rust = Tokenizer.from_str(named.backend_tokenizer.to_str()) if file is None else Tokenizer.from_file(file)
    # How to cut and pad is for the user of a tokenizer to say, not for its file.
    rust.no_truncation()
    rust.no_padding()
    return rust


def _known(special: dict[str, Any], rust: Tokenizer) -> dict[str, str]:
    return {name: str(token) for name, token in special.items() if rust.token_to_id(str(token)) is not None}


def _with_prefix_spaces(rust: Tokenizer) -> Tokenizer:
    """Return the tokenizer with `add_prefix_space` set in each step that has it.

    Byte-level steps then put a space before every word; the steps after the subwords leave that space out of offsets.
    """
    state = json.loads(rust.to_str())
    for step in (*_steps(state["pre_tokenizer"]), *_steps(state["post_processor"])):
        if step["type"] in ("ByteLevel", "RobertaProcessing"):
            step["add_prefix_space"] = True
    return Tokenizer.from_str(json.dumps(state))


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the step of a tokenizer, or the steps of a sequence."""
    if step is None:
        return []
    inner = step.get("pretokenizers") or step.get("processors")
    return [step] if inner is None else [each for one in inner for each in _steps(one)]
