"""The masked-language-modelling head of a base checkpoint."""

from typing import TYPE_CHECKING

from bertwire_trainer.base import Base, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class NoMaskedHead(Exception):
    """The base cannot predict masked words; the message says why."""


def load_masked(base: Base, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """Load the encoder in float32 with the head that predicts masked tokens.

    Raises:
        NoMaskedHead: the checkpoint has no such head, or its tokenizer no mask token.
        UserError: the weights cannot be loaded.
    """
    import torch
    from transformers import AutoModelForMaskedLM

    if tokenizer.mask_token is None:
        raise NoMaskedHead(f"the tokenizer of {base.name} has no mask token")
    with one_line(base):
        model, report = AutoModelForMaskedLM.from_pretrained(
            base.location,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=base.local,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if any(not key.startswith(f"{model.base_model_prefix}.") for key in absent):
        raise NoMaskedHead(f"{base.name} has no masked-language-modelling head")
    return model  # type: ignore[no-any-return]
