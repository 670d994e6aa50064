"""Write report.html and report.json into a checkpoint that is finished; no fault in them fails the training."""

import os
import time
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy
from numpy.typing import NDArray

from bertwire_core.errors import first_line
from bertwire_trainer.messages import note
from bertwire_trainer.method import Fitted, Job

# Float32 [rows of the targets, labels] of each split.
Logits = Mapping[str, NDArray[numpy.float32]]

_INSTALL = "pip install '.[report]' in the folder of bertwire's source"


def write_report(folder: Path, job: Job, fitted: Fitted, logits: Logits) -> None:
    """Write the report of the checkpoint in `folder`, or say in one line why there is none.

    Args:
        folder: a checkpoint with its record.
        job: the run.
        fitted: what the method returned.
        logits: of dev and, if there is one, test, by name.
    """
    begun = time.perf_counter()
    try:
        # Libraries warn of rare labels and of fits that stop early; the page says what a reader has to know.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from bertwire_trainer.report.page import write_page

            seconds = write_page(folder, job, fitted, logits)
    except ModuleNotFoundError as error:
        note(f"no report was written: it needs {error.name}; {_INSTALL}, or pass --no-report")
    except Exception as error:
        say_fault("no report was written", error)
    else:
        longest = sorted(seconds, key=lambda name: -seconds[name])[:3]
        parts = ", ".join(f"{name} {seconds[name]:.1f} s" for name in longest)
        note(f"report: report.html in {time.perf_counter() - begun:.1f} s ({parts})")


def say_fault(what: str, error: Exception) -> None:
    """Say in one line what an error kept from being written."""
    if os.environ.get("BERTWIRE_DEBUG") == "1":
        traceback.print_exception(error)
    note(f"{what}: {type(error).__name__}: {first_line(error)}; the checkpoint is not affected")
