"""The commands `bertwire label-next` and `bertwire label-read`; PyTorch is imported when the first of them runs."""

from bertwire_core.console import err
from bertwire_core.files import in_use
from bertwire_core.options import command
from bertwire_trainer.labelling.config import LabelNextConfig, LabelReadConfig


def run_next(config: LabelNextConfig) -> None:
    """Choose the texts to label next: those a model is least sure of, no two alike, with its suggestions.

    Before there is a model, texts that together show most of what the file holds.
    """
    from bertwire_trainer.labelling.prepare import prepare
    from bertwire_trainer.quiet import quiet_environment, quiet_libraries

    quiet_environment()
    with in_use(config.output):
        prepared = prepare(config)
        with err.status("Loading PyTorch"):
            quiet_libraries()
            from bertwire_trainer.labelling.next import write_next

        write_next(prepared)


def run_read(config: LabelReadConfig) -> None:
    """Turn the answers of annotation tools into labelled rows for bertwire train.

    Of one person the last answer to a text counts, of several people the one that most of them gave.
    """
    from bertwire_trainer.labelling.read import read_answers

    with in_use(config.output):
        read_answers(config)


label_next = command(LabelNextConfig, run_next)
label_read = command(LabelReadConfig, run_read)
