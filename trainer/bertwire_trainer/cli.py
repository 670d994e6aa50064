"""The command `bertwire train`; PyTorch and transformers are imported when it runs."""

from contextlib import nullcontext

from bertwire_core.console import err
from bertwire_core.files import in_use
from bertwire_core.options import command
from bertwire_trainer import ranks
from bertwire_trainer.config import RunConfig, TrainConfig


def run_train(config: RunConfig) -> None:
    """Fine-tune a BERT-family encoder on labelled rows and write a checkpoint folder.

    The rows have one label a text, several labels a text, tags of words (IOB2) or numbers.
    """
    from bertwire_trainer.prepare import place, prepare
    from bertwire_trainer.quiet import quiet_environment, quiet_libraries

    quiet_environment()
    with ranks.only_first_speaks(), in_use(place(config)) if ranks.is_first() else nullcontext():
        job = prepare(config)
        with err.status("Loading PyTorch"):
            quiet_libraries()
            from bertwire_trainer.train import train_model

        train_model(job)


train = command(TrainConfig, run_train)
