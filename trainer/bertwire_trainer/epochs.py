"""Folders of Trainer's own checkpoints, one for each epoch: which are whole, and what they say of the run."""

import json
import re
import zipfile
from itertools import takewhile
from pathlib import Path
from typing import Any

from bertwire_core.files import whole_file
from bertwire_trainer.messages import note

_STATE = "trainer_state.json"
_WEIGHTS = "model.safetensors"
_PARTS = ("optimizer.pt", "scheduler.pt")


def last_whole(epochs: Path) -> Path | None:
    """Return the newest checkpoint in `epochs` that was written to its end; None where there is none.

    A note names those that are newer and were not written to their end; they are left as they are.
    """
    newest_first = _newest_first(epochs)
    checkpoint = next(filter(is_whole, newest_first), None)
    for broken in takewhile(lambda path: path != checkpoint, newest_first):
        note(f"{broken.name} was not written to its end; going back to the one before")
    if checkpoint:
        _name_best_here(checkpoint)
    return checkpoint


def _newest_first(epochs: Path) -> list[Path]:
    names = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in epochs.glob("*")}
    return sorted((path for path, name in names.items() if name), key=lambda path: -int(path.name[11:]))


def is_whole(checkpoint: Path) -> bool:
    """Return whether Trainer wrote `checkpoint` to its end and the best epoch that it names is beside it."""
    from safetensors import SafetensorError, safe_open

    try:
        for folder in {checkpoint, _best(checkpoint, _state(checkpoint))}:
            with safe_open(folder / _WEIGHTS, framework="pt"):  # holds the file's length against its header
                pass
        parts = [*_PARTS, *(("scaler.pt",) if (checkpoint / "scaler.pt").exists() else ())]
        # One file, or one for each process.
        random = [path.name for path in checkpoint.glob("rng_state*.pth")]
        return bool(random) and all(_is_sound(checkpoint / name) for name in [*parts, *random])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, zipfile.BadZipFile):
        return False


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_bytes())
    return state


def _best(checkpoint: Path, state: dict[str, Any]) -> Path:
    """Return the checkpoint of the best epoch; where no epoch is evaluated, the last is the best."""
    # Trainer writes absolute paths, which are wrong once the folder has moved.
    best = state["best_model_checkpoint"]
    return checkpoint if best is None else checkpoint.parent / Path(best).name


def _name_best_here(checkpoint: Path) -> None:
    """Correct the path of the best epoch in a folder that has moved: Trainer forgets one that it does not find."""
    state = _state(checkpoint)
    best = str(_best(checkpoint, state))
    if state["best_model_checkpoint"] not in (None, best):
        with whole_file(checkpoint / _STATE) as file:
            file.write_text(json.dumps(state | {"best_model_checkpoint": best}, indent=2) + "\n", encoding="utf-8")


def _is_sound(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return archive.testzip() is None


def epochs_run(checkpoint: Path, patience: int) -> int | None:
    """Return after how many epochs training had stopped early at `checkpoint`; None where it had not."""
    state = _state(checkpoint)
    stopping = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
    return round(state["epoch"]) if stopping["early_stopping_patience_counter"] >= patience else None
