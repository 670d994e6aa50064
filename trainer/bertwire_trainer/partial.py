"""The folder of a run that is not finished: its setup, its epochs, the unfinished result."""

import json
import re
import shutil
import zipfile
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bertwire_core.errors import UserError
from bertwire_core.files import publish_folder, whole_file
from bertwire_trainer.messages import note
from bertwire_trainer.record import Setup

_STATE = "trainer_state.json"
_WEIGHTS = "model.safetensors"
_PARTS = ("optimizer.pt", "scheduler.pt", "rng_state.pth")


class Started(Setup):
    """The content of `run.json`; `location` tells two base folders of one name apart and is never published."""

    location: str


class Partial:
    """`OUTPUT.partial`.

    Attributes:
        epochs: folder of Trainer's own checkpoints, of epochs and of steps between.
        result: folder that becomes OUTPUT.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs, self.result = path / "epochs", path / "result"
        self._run = path / "run.json"

    def require_consent(self, *, resume: bool, overwrite: bool) -> None:
        """Raise `UserError` where an interrupted run is there and the user has not said what becomes of it."""
        if self.path.exists() and not (resume or overwrite):
            raise UserError(
                f"{self.path} holds an interrupted run; continue it with --resume or throw it away with --overwrite"
            )

    def start(self, setup: Started, *, resume: bool) -> Path | None:
        """Create the folder anew, or open it to resume.

        Returns:
            The Trainer checkpoint to resume from; None to begin with the base checkpoint.

        Raises:
            UserError: the interrupted run was started with another setup.
        """
        if resume and self.path.exists():
            self._require_same(setup)
            return resume_point(self.epochs)
        shutil.rmtree(self.path, ignore_errors=True)
        self.result.mkdir(parents=True)
        with whole_file(self._run) as file:
            file.write_text(setup.model_dump_json(indent=2), encoding="utf-8")
        return None

    def _require_same(self, setup: Started) -> None:
        try:
            before = Started.model_validate_json(self._run.read_bytes()).model_dump()
        except (OSError, ValidationError) as error:
            raise UserError(
                f"{self.path} does not say what it was started with; start over with --overwrite"
            ) from error
        now = json.loads(setup.model_dump_json())
        if changed := _changes(before, now):
            raise UserError(
                f"{self.path} was started with other settings ({'; '.join(changed)}); "
                "repeat that command with --resume or start over with --overwrite"
            )

    def has_whole(self) -> bool:
        """Return whether a checkpoint was written to its end."""
        return any(is_whole(folder) for folder in self.epochs.rglob("checkpoint-*"))

    def publish(self, output: Path, *, overwrite: bool) -> None:
        """Move the result to `output`, then remove what is left of the run."""
        publish_folder(self.result, output, overwrite=overwrite)
        shutil.rmtree(self.path)


def resume_point(epochs: Path) -> Path | None:
    """Return the newest of Trainer's checkpoints in a folder that was written to its end; None where there is none."""
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


def _changes(before: dict[str, object], now: dict[str, object]) -> list[str]:
    flat_before, flat_now = _flat(before), _flat(now)
    keys = [key for key in flat_before | flat_now if flat_before.get(key) != flat_now.get(key)]
    return [f"{key} {flat_before.get(key)!r}, now {flat_now.get(key)!r}" for key in keys[:3]]


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def is_whole(checkpoint: Path) -> bool:
    """Return whether Trainer wrote `checkpoint` to its end and the best epoch that it names, if any, is beside it."""
    from safetensors import SafetensorError, safe_open

    try:
        for folder in {checkpoint, _best(checkpoint, _state(checkpoint)) or checkpoint}:
            with safe_open(folder / _WEIGHTS, framework="pt"):  # holds the file's length against its header
                pass
        parts = [*_PARTS, *(("scaler.pt",) if (checkpoint / "scaler.pt").exists() else ())]
        return all(_is_sound(checkpoint / name) for name in parts)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, zipfile.BadZipFile):
        return False


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_bytes())
    return state


def _best(checkpoint: Path, state: dict[str, Any]) -> Path | None:
    # Trainer writes absolute paths, which are wrong once the folder has moved; none within the first epoch.
    best = state["best_model_checkpoint"]
    return None if best is None else checkpoint.parent / Path(best).name


def _name_best_here(checkpoint: Path) -> None:
    """Correct the path of the best epoch in a folder that has moved: Trainer forgets one that it does not find."""
    state = _state(checkpoint)
    best = _best(checkpoint, state)
    if best is not None and str(best) != state["best_model_checkpoint"]:
        with whole_file(checkpoint / _STATE) as file:
            file.write_text(json.dumps(state | {"best_model_checkpoint": str(best)}, indent=2) + "\n", encoding="utf-8")


def _is_sound(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return archive.testzip() is None


def epochs_run(checkpoint: Path, patience: int) -> int | None:
    """Return after how many epochs training had stopped early at `checkpoint`; None where it had not."""
    state = _state(checkpoint)
    stopping = state["stateful_callbacks"]["EarlyStoppingCallback"]["attributes"]
    return round(state["epoch"]) if stopping["early_stopping_patience_counter"] >= patience else None
