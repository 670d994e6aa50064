"""Settings that turn off the libraries' telemetry and messages."""

import os


def quiet_environment() -> None:
    """Set what datasets, huggingface_hub and tokenizers read; call it before they are imported."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Tokenizing is over before training starts, and no process is forked after it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def quiet_libraries() -> None:
    """Import transformers and turn off its messages."""
    quiet_environment()
    import transformers

    transformers.logging.disable_progress_bar()
    # The loading report calls every new head a problem; `loading.load_model` checks for the faults that are real.
    transformers.logging.set_verbosity_error()
