"""Where Ray Data keeps the ids of the rows that are written, and of which run they are."""

import hashlib
import json

from ray.data.checkpoint import CheckpointConfig

from bertwire_batch.config import ScoreConfig
from bertwire_batch.ray.places import Folder, place_of
from bertwire_core.errors import UserError
from bertwire_runtime.bundle import open_bundle


class Checkpoints:
    """The checkpoints of a job, in a folder of their own below the one that the user names.

    It is named after what the predictions depend on, so that a run with another bundle or other options does not take
    their rows for its own.
    """

    def __init__(self, config: ScoreConfig, id_column: str) -> None:
        """Look for those of an earlier run.

        Raises:
            UserError: there are some of a run with another bundle, other options or another output.
        """
        chosen = config.ray_checkpoint
        self._root = Folder(f"{place_of(config.output)}.partial" if chosen is None else place_of(chosen))
        name = _name(config, id_column)
        found = self._root.files()
        if any(each.split("/")[0] != name for each in found):
            raise UserError(
                f"{self._root.place} holds what an unfinished run with another bundle, other options or another output "
                "has done; repeat its command to go on, or remove that folder and its output to start anew"
            )
        self.any = bool(found)
        self.config = CheckpointConfig(id_column, f"{self._root.place}/{name}")

    def remove(self) -> None:
        """Remove the folder that held them."""
        self._root.remove()


def _name(config: ScoreConfig, id_column: str) -> str:
    assert config.bundle is not None  # noqa: S101 - --ray needs it
    about = {
        "bundle": open_bundle(config.bundle).sha256,
        "output": place_of(config.output),
        "id_column": id_column,
        **config.model_dump(include={"text_column", "text_pair_column", "prefix", "all_scores", "threshold"}),
    }
    return hashlib.blake2b(json.dumps(about).encode(), digest_size=8).hexdigest()
