"""The command `bertwire add-class`; PyTorch and transformers are imported when it runs."""

from bertwire_core.console import err
from bertwire_core.files import in_use, output_path
from bertwire_core.options import command
from bertwire_trainer.add_class.config import AddClassConfig


def run_add_class(config: AddClassConfig) -> None:
    """Add classes to a checkpoint of prototypes or zero-shot from a few examples of each, without training.

    The mean vector of a new label's examples becomes its row of the linear layer; the encoder and the other rows stay
    as they are. Dev and test of the checkpoint are scored again.
    """
    from bertwire_trainer.add_class.prepare import prepare
    from bertwire_trainer.quiet import quiet_environment, quiet_libraries

    quiet_environment()
    with in_use(output_path(config.output)):
        prepared = prepare(config)
        with err.status("Loading PyTorch"):
            quiet_libraries()
            from bertwire_trainer.add_class.extend import extend

        extend(prepared)


add_class = command(AddClassConfig, run_add_class)
