"""Public state of a model version."""

import re
from dataclasses import dataclass
from typing import Literal

from bertwire_server.model.model import Model

# LOADING: being verified and warmed up. UNLOADING: finishing its calls. UNAVAILABLE: see reason.
State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A model version, as clients see it.

    Attributes:
        reason: why it is UNAVAILABLE, or READY with another bundle than the repository's; without paths.
        aliases: other names of the version.
        default: whether it answers requests that name no version.
        model: the loaded model; None unless READY.
    """

    name: str
    version: str
    state: State
    reason: str = ""
    aliases: tuple[str, ...] = ()
    default: bool = False
    model: Model | None = None


def natural(version: str) -> tuple[tuple[int, str], ...]:
    """Return a natural sort key: 9 before 10, 1.9 before 1.10, 1.0 before 1.0-rc1, letters last."""
    parts = re.findall(r"\d+|\D+", version)
    # The text itself orders 1 and 01.
    return (*((int(each), "") if each.isdecimal() else (_LETTERS, each) for each in parts), (-1, version))


# Above any number of 64 digits, a version's longest.
_LETTERS = 10**64
