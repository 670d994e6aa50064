"""What is known of one version of a model."""

import re
from dataclasses import dataclass
from typing import Literal

from bertwire_server.model.model import Model

# LOADING: being verified and warmed up. UNLOADING: answers what it has, takes nothing more. UNAVAILABLE: see reason.
State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of a model, as others may see it.

    Attributes:
        name: the model's name.
        version: its version.
        state: what can be expected of it.
        reason: why it is UNAVAILABLE, or READY with another bundle than the repository now holds; no path in it.
        aliases: further names of this version.
        default: whether it answers for its name where no version is given.
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
    """A key that sorts versions as people do: 9 before 10, 1.9 before 1.10, 1.0 before 1.0-rc1, letters last."""
    parts = re.findall(r"\d+|\D+", version)
    # The text itself decides between 1 and 01.
    return (*((int(each), "") if each.isdecimal() else (_LETTERS, each) for each in parts), (-1, version))


# Above any number that fits a version's 64 characters.
_LETTERS = 10**64
