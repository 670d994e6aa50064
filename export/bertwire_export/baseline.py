"""What every candidate is compared with."""

from collections.abc import Sequence
from typing import Literal, Protocol

from tokenizers import Encoding

from bertwire_core.tasks import ServedTask
from bertwire_export.examples import Logits
from bertwire_export.rare import Rare
from bertwire_export.unlabelled import Unlabelled
from bertwire_runtime.bundle import Abstention, Calibration, Quality, Scores, Split
from bertwire_runtime.bundle import Reference as ReferenceScores
from bertwire_runtime.runner import Runner

SplitName = Literal["dev", "test"]


class Baseline(Protocol):
    """PyTorch's output for texts, and what was fitted and scored on it.

    Attributes:
        scores: PyTorch's scores.
        rare: texts with tokens that the others may lack.
        one_row: what one row of dev is worth; see `one_row.py`.
    """

    @property
    def task(self) -> ServedTask: ...  # noqa: D102

    @property
    def scores(self) -> ReferenceScores: ...  # noqa: D102

    @property
    def calibration(self) -> Calibration: ...  # noqa: D102

    @property
    def abstention(self) -> Abstention | None: ...  # noqa: D102

    @property
    def rare(self) -> Rare: ...  # noqa: D102

    @property
    def unlabelled(self) -> Unlabelled | None: ...  # noqa: D102

    @property
    def one_row(self) -> Scores: ...  # noqa: D102

    @property
    def encodings(self) -> list[Encoding]:
        """Return the texts of dev as a graph reads them, long ones in chunks."""

    @property
    def chunks(self) -> Sequence[Sequence[Encoding]]:
        """Return the same, text by text."""

    @property
    def splits(self) -> dict[SplitName, Split]:
        """Return the manifest's entries for the texts; dev is always there."""

    def compare(self, runner: Runner, title: str, split: SplitName) -> tuple[Logits, Quality]:
        """Run a graph on a split, and return its output with its scores and its distance from PyTorch's.

        Raises:
            UserError: its output is not finite.
        """
