"""The lines that the command prints beside its bars."""

from collections.abc import Iterable

from bertwire_core.console import err, out

# Names of the figures in print.
_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "f1": "entity F1",
    "precision": "precision",
    "recall": "recall",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mae": "mean absolute error",
    "loss": "loss",
}


def say(text: str) -> None:
    """Print a result as it is: not wrapped, and without taking brackets in label names for markup."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """Print a remark to standard error, as it is."""
    err.print(text, markup=False, highlight=False, soft_wrap=True)


def warn(texts: Iterable[str]) -> None:
    """Print warnings to standard error, a line each."""
    for text in texts:
        note(f"warning: {text}")


def metric_name(metric: str) -> str:
    """Return the name of a figure in print."""
    return _NAMES[metric]


def figures(metrics: dict[str, float]) -> str:
    """Return figures as one line."""
    return ", ".join(f"{metric_name(metric)} {value:.4f}" for metric, value in metrics.items())
