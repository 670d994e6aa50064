"""No file, pipe or process of the product has its encoding from the locale."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("client", "server", "trainer", "export", "demo", "bench", "scripts")


def has_no_encoding(call: ast.Call) -> bool:
    """Whether a call opens text and names no encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if None in given or "encoding" in given:
        return False
    if name in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)
    if name in ("run", "Popen", "check_output"):
        return isinstance(given.get("text"), ast.Constant)
    modes = [each.value for each in (*call.args, given.get("mode")) if isinstance(each, ast.Constant)]
    if name in ("open", "fdopen"):
        text = any(isinstance(mode, str) and mode.strip("+t") in ("r", "w", "a", "x") for mode in modes)
        return text or not (call.args or call.keywords)
    return False


@pytest.mark.parametrize("part", PARTS)
def test_text_has_an_encoding(part: str) -> None:
    """Whatever LC_ALL says, a file is read as it was written."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / part).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and has_no_encoding(node)
    ]
    assert not found
