"""The folder of a run that is not finished: its setup, its epochs, the unfinished result."""

import json
import shutil
from pathlib import Path

from pydantic import ValidationError

from bertwire_core.errors import UserError
from bertwire_core.files import publish_folder, whole_file
from bertwire_trainer.epochs import is_whole
from bertwire_trainer.record import Setup

# Files that stages and methods keep for a resumed run beside epochs: finished rounds, vectors, soft targets, changed
# rows, neurons, logits of folds.
_KEPT = ("round-*.json", "vectors.npy", "means.npy", "rows.jsonl", "neurons.json", "fold-*.npy")


class Started(Setup):
    """The content of `run.json`; `location` tells two base folders of one name apart and is never published."""

    location: str


class Partial:
    """`OUTPUT.partial`.

    Attributes:
        epochs: folder of Trainer's own checkpoints, one for each epoch, and of what stages keep.
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

    def start(self, setup: Started, *, resume: bool) -> None:
        """Create the folder anew, or open it to resume.

        Raises:
            UserError: the interrupted run was started with another setup.
        """
        if resume and self.path.exists():
            self._require_same(setup)
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.result.mkdir(parents=True)
        with whole_file(self._run) as file:
            file.write_text(setup.model_dump_json(indent=2), encoding="utf-8")

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

    def has_epoch(self) -> bool:
        """Return whether a method or a stage has saved something to go on from: an epoch, or a file it keeps."""
        kept = any(each.is_file() for name in _KEPT for each in self.epochs.rglob(name))
        return kept or any(map(is_whole, self.epochs.rglob("checkpoint-*")))

    def publish(self, output: Path, *, overwrite: bool) -> None:
        """Move the result to `output`, then remove what is left of the run."""
        publish_folder(self.result, output, overwrite=overwrite)
        shutil.rmtree(self.path)


def _changes(before: dict[str, object], now: dict[str, object]) -> list[str]:
    flat_before, flat_now = _flat(before), _flat(now)
    keys = [key for key in flat_before | flat_now if flat_before.get(key) != flat_now.get(key)]
    return [f"{key} {flat_before.get(key)!r}, now {flat_now.get(key)!r}" for key in keys[:3]]


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
