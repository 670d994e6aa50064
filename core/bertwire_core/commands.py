"""The commands of `bertwire`: module, required extra, summary."""

from dataclasses import dataclass

from bertwire_core.faults import CLI


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `summary` is its line in `bertwire --help`."""

    module: str
    install: str
    summary: str


COMMANDS = {
    "train": Command("bertwire_trainer.cli", "'.[train]'", "Fine-tune a BERT-family encoder on labelled texts."),
    "tune": Command("bertwire_trainer.tune.cli", "'.[tune]'", "Search for the best method and options."),
    "label-next": Command("bertwire_trainer.labelling.cli", "'.[train]'", "Choose the texts to label next."),
    "label-read": Command("bertwire_trainer.labelling.cli", CLI, "Turn annotation tools' answers into labelled rows."),
    "add-class": Command(
        "bertwire_trainer.add_class.cli", "'.[train]'", "Add classes to a checkpoint from a few examples of each."
    ),
    "export": Command(
        "bertwire_export.cli",
        "'.[export,cpu]' or '.[export,gpu]'",
        "Convert a checkpoint to ONNX, prove it and seal a bundle.",
    ),
    "inspect": Command("bertwire_export.cli", CLI, "Verify a bundle and print what it holds."),
    "bundle": Command("bertwire_export.bundle_cli", "'.[sign]'", "Sign a bundle, and verify its signature."),
    "serve": Command("bertwire_server.cli", "'.[serve,cpu]' or '.[serve,gpu]'", "Serve a bundle over gRPC."),
    "keys": Command("bertwire_server.access.keys_cli", CLI, "Make API keys for a server."),
    "classify": Command("bertwire_cli.classify", CLI, "Classify texts given on the command line."),
    "models": Command("bertwire_cli.models", CLI, "List, load and unload the models of a server."),
    "score": Command("bertwire_batch.cli", CLI, "Score every row of files by servers or a bundle."),
    "embed": Command("bertwire_batch.cli", CLI, "Write the vector of every row of files, by servers or a bundle."),
    "load": Command("bertwire_load.cli", "'.[load]'", "Measure latency and throughput of a server under load."),
}
