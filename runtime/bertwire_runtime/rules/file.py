"""Parsing of a file of rules: all of its faults at once."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from bertwire_core.errors import UserError
from bertwire_runtime.rules.rule import Effect, Rule

# The file's name in a bundle.
RULES = "rules.json"
_KEYS = ("name", "pattern", "label")
_EFFECTS: tuple[Effect, ...] = get_args(Effect)
# As of models and variants: valid in metric labels.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Largest absolute boost in logits, which decides against any model. Sums of boosts stay far from float32's infinity.
_MOST_BOOST = 1000.0


class RulesFaulty(UserError):
    """A file of rules cannot be used.

    Attributes:
        faults: one line each.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def parse(content: bytes, labels: Sequence[str]) -> list[Rule]:
    """Return the rules of a file for a model with these labels; raise `RulesFaulty` with every fault of it."""
    entries = _read(content)
    found = [_entry(each, labels) for each in entries]
    faults = [f"{_where(entries, place)}: {fault}" for place, (_, faults) in enumerate(found) for fault in faults]
    names = Counter(each["name"] for each in entries if isinstance(each, dict) and isinstance(each.get("name"), str))
    faults += [f"{count} rules have the name {name!r}; give each its own" for name, count in names.items() if count > 1]
    if faults:
        raise RulesFaulty(faults)
    return [rule for rule, _ in found if rule is not None]


def re2_module() -> Any:  # noqa: ANN401 - it has no types
    """Return the module `re2`; raise `UserError` where it is not installed."""
    try:
        import re2
    except ModuleNotFoundError:
        raise UserError("rules need the package google-re2, which is not installed: pip install google-re2") from None
    return re2


def re2_options(**values: object) -> Any:  # noqa: ANN401 - as above
    """Return options of RE2 that write no errors to standard error."""
    options = re2_module().Options()
    for name, value in {"log_errors": False, **values}.items():
        setattr(options, name, value)
    return options


def _read(content: bytes) -> list[Any]:
    try:
        entries = json.loads(content.decode(), object_pairs_hook=_pairs)
    except RecursionError:
        raise RulesFaulty(["it is nested too deeply; it is a list of rules"]) from None
    except json.JSONDecodeError as error:
        hint = r"; write a backslash of a pattern as \\" if "escape" in error.msg else ""
        raise RulesFaulty([f"it is not JSON: line {error.lineno}: {error.msg}{hint}"]) from None
    except ValueError as error:
        raise RulesFaulty([f"it is not JSON in UTF-8: {error}"]) from None
    if not isinstance(entries, list) or not entries:
        raise RulesFaulty(['it is no list of rules, as [{"name": ..., "pattern": ..., "label": ..., "force": true}]'])
    return entries


class _Twice(dict[str, Any]):
    """A JSON object with a key that stands in it twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs) if len(dict(pairs)) == len(pairs) else _Twice(pairs)


def _where(entries: Sequence[Any], place: int) -> str:
    name = entries[place].get("name") if isinstance(entries[place], dict) else None
    return f"rule {place + 1} ({name})" if isinstance(name, str) and _NAME.fullmatch(name) else f"rule {place + 1}"


def _entry(entry: Any, labels: Sequence[str]) -> tuple[Rule | None, list[str]]:  # noqa: ANN401 - any JSON
    if not isinstance(entry, dict):
        return None, ["it is no object with name, pattern, label and one of force, forbid and boost"]
    faults = list(_faults(entry, labels))
    if faults:
        return None, faults
    effect: Effect = next(each for each in _EFFECTS if each in entry)
    boost = float(entry["boost"]) if effect == "boost" else 0.0
    return Rule(entry["name"], entry["pattern"], labels.index(entry["label"]), effect, boost), []


def _faults(entry: dict[str, Any], labels: Sequence[str]) -> Iterator[str]:
    if isinstance(entry, _Twice):
        yield "a key stands in it twice"
    for key in entry:
        if key not in _KEYS + _EFFECTS:
            yield f"unknown key {key[:64]!r}; there are {', '.join(_KEYS + _EFFECTS)}"
    for key in _KEYS:
        if not isinstance(entry.get(key), str) or not entry[key]:
            yield f"{key} is missing or no text"
    if isinstance(name := entry.get("name"), str) and name and not _NAME.fullmatch(name):
        yield f"the name {name[:64]!r} is not 1 to 64 letters, digits, '.', '_' and '-'"
    if isinstance(label := entry.get("label"), str) and label and label not in labels:
        yield f"the model has no label {label[:64]!r}; it has {', '.join(labels)[:400]}"
    if isinstance(pattern := entry.get("pattern"), str) and pattern:
        yield from _pattern_faults(pattern)
    yield from _effect_faults(entry)


def _pattern_faults(pattern: str) -> Iterator[str]:
    # JSON reads \b as a backspace, which no text holds.
    if control := next((each for each in pattern if ord(each) < ord(" ")), None):
        yield rf"the pattern holds the control character U+{ord(control):04X}; write a backslash as \\"
    re2 = re2_module()
    try:
        re2.compile(pattern, re2_options())
    except (re2.error, UnicodeEncodeError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        yield f"the pattern does not compile: {reason[:200]}"


def _effect_faults(entry: dict[str, Any]) -> Iterator[str]:
    given = [each for each in _EFFECTS if each in entry]
    if len(given) != 1:
        yield f"it has {' and '.join(given) or 'none of force, forbid and boost'}; give exactly one of them"
    for each in ("force", "forbid"):
        if each in entry and entry[each] is not True:
            yield f"{each} is not true; leave out what a rule does not do"
    boost = entry.get("boost", 0)
    if isinstance(boost, bool) or not isinstance(boost, int | float) or not abs(boost) <= _MOST_BOOST:
        yield f"boost is no number between {-_MOST_BOOST:g} and {_MOST_BOOST:g}"
