"""Parts import downwards only, and no file of a part imports in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Of each part those that it may import.
BELOW: dict[str, set[str]] = {
    "core": set(),
    "client": {"core"},
    "data": {"core"},
    "runtime": {"core"},
    "trainer": {"core", "data"},
    "export": {"core", "data", "runtime"},
    "server": {"core", "client", "runtime"},
    "batch": {"core", "client", "data", "runtime"},
    "load": {"core", "client", "data"},
    "cli": {"core", "client", "runtime", "export"},
}


def modules(part: str) -> dict[str, Path]:
    """The modules of a part, by name."""
    files = (ROOT / part / f"bertwire_{part}").rglob("*.py")
    return {".".join(each.relative_to(ROOT / part).with_suffix("").parts): each for each in files}


def imported(path: Path, *, when_run: bool) -> Iterator[str]:
    """The modules of ours that a file imports; with `when_run` only where it is imported itself, not later."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if when_run else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bertwire_"):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.startswith("bertwire_"))


@pytest.mark.parametrize("part", BELOW)
def test_imports_downwards(part: str) -> None:
    """A part names itself and those below it."""
    for path in modules(part).values():
        for each in imported(path, when_run=False):
            other = each.split(".")[0].removeprefix("bertwire_")
            assert other in {part} | BELOW[part], f"{path} imports {each}"


def test_parts_are_in_order() -> None:
    """Of two parts one at most is below the other."""
    assert set(TopologicalSorter(BELOW).static_order()) == set(BELOW)


@pytest.mark.parametrize("part", BELOW)
def test_no_circle(part: str) -> None:
    """Packages count as what their __init__ imports; what is imported for types alone, or later, does not count."""
    names = {name.removesuffix(".__init__"): path for name, path in modules(part).items()}
    graph = {name: {each for each in imported(path, when_run=True) if each in names} for name, path in names.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(names)
