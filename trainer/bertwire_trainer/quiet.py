"""Keeps the libraries' telemetry off and their own messages out of the command's output."""

import os


def quiet_libraries() -> None:
    """Sets what transformers, datasets, huggingface_hub and tokenizers read; call it before they are imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Tokenizing is over before training starts, and no process is forked after it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import datasets  # type: ignore[import-untyped]
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    # The loading report calls every new head a problem; `loading.load_model` checks for the faults that are real.
    transformers.logging.set_verbosity_error()
