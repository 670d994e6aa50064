"""The command `bertwire train`; heavy imports wait until it runs."""

from bertwire_client.console import err
from bertwire_client.options import command
from bertwire_trainer.config import TrainConfig


def run_train(config: TrainConfig) -> None:
    """Fine-tune a BERT-family encoder for one-label classification and write a checkpoint folder."""
    from bertwire_trainer.quiet import quiet_libraries

    quiet_libraries()
    with err.status("Loading PyTorch"):
        from bertwire_trainer.train import train_classifier

    train_classifier(config)


train = command(TrainConfig, run_train)
