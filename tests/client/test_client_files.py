"""Outputs are whole or absent; options come from a configuration; progress stays off standard output."""

import errno
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from bertwire_core.console import progress, tracked
from bertwire_core.errors import UserError
from bertwire_core.files import (
    in_use,
    output_path,
    require_absent,
    require_apart,
    scratch_folder,
    whole_file,
    whole_folder,
)
from bertwire_core.options import Config, argument, command, validated


def names(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("failure", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", [whole_file, partial(whole_folder, overwrite=True)])
def test_output_is_old_or_new(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Path]], failure: type[BaseException] | None
) -> None:
    """Keep the old output until the block has ended, and where it fails; leave nothing else, nor touch a neighbour."""
    out, beside = tmp_path / "deep" / "out", [tmp_path / "deep" / name for name in ("out.old", "out.partial")]

    def content(path: Path) -> str:
        return (path / "file" if path.is_dir() else path).read_text()

    for text in ("old", "new"):
        with suppress(ValueError, KeyboardInterrupt), kind(out) as made:
            (made if kind is whole_file else made / "file").write_text(text)
            if text == "new":
                assert content(out) == "old"
                for each in beside:
                    each.write_text("precious")
                if failure:
                    raise failure
    assert content(out) == ("old" if failure else "new")
    assert [each.read_text() for each in beside] == ["precious"] * 2
    assert names(out.parent) == ["out", "out.old", "out.partial"]


def test_one_process_makes_an_output(tmp_path: Path) -> None:
    """Name the process that makes the output; allow it again, and leave nothing, however that one ends."""
    out = tmp_path / "deep" / "out"
    code = "import sys, pathlib; from bertwire_core.files import in_use; out = pathlib.Path(sys.argv[1])\n"
    code += "with in_use(out): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(out)]
    for kill in (True, False):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"\n"
            with pytest.raises(UserError, match=f"out is in use by process {other.pid}; wait until"), in_use(out):
                pytest.fail("the block must not run")
            if kill:
                other.kill()
        with in_use(out), in_use(out.with_name("other")):
            pass
        assert names(out.parent) == []


def test_full_disk_names_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the output whose disk is full, for a library's error too, and leave nothing."""
    out = tmp_path / "out"

    def fill(block: AbstractContextManager[Path]) -> None:
        with block as made:
            assert made.parent == tmp_path
            Path("/dev/full").write_text("x", encoding="utf-8")

    for block in (whole_file(out), whole_folder(out, overwrite=False), scratch_folder(out)):
        with pytest.raises(UserError, match=r"no space left on the disk of .*/out; free some or choose"):
            fill(block)
    with pytest.raises(UserError, match="ulimit -f"), whole_file(out):
        raise OSError(errno.EFBIG, "File too large")
    with pytest.raises(RuntimeError), whole_file(out):
        raise RuntimeError("Protobuf serialization failed.")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(UserError, match="no space left on the disk of"), scratch_folder(out):
        raise RuntimeError("Protobuf serialization failed.")
    assert names(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_umask_decides_who_may_read(tmp_path: Path, umask: int) -> None:
    """Give files and folders the permissions of the umask."""
    before = os.umask(umask)
    try:
        with whole_file(tmp_path / "file"), whole_folder(tmp_path / "folder", overwrite=True):
            pass
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask]


@pytest.mark.parametrize("failure", [PermissionError(13, "Permission denied"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [False, True])
def test_swap_that_is_cut_short(
    tmp_path: Path, failure: BaseException, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leave one whole folder and nothing else where the swap fails before its second step or after."""
    with whole_folder(tmp_path / "out", overwrite=True) as made:
        (made / "old").touch()
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            if after:
                rename(self, target)
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(type(failure)), whole_folder(tmp_path / "out", overwrite=True) as made:
        (made / "new").touch()
    assert (names(tmp_path), names(tmp_path / "out")) == (["out"], ["new" if after else "old"])


def test_link_to_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """Replace the link itself, and leave its target alone."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "out").symlink_to("real")
    with whole_folder(tmp_path / "out", overwrite=True) as made:
        (made / "new").touch()
    assert (names(tmp_path), names(tmp_path / "out"), names(tmp_path / "real")) == (["out", "real"], ["new"], ["old"])


def test_output_is_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise for an output that is an input, or a folder that holds one, under every spelling and link."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "data" / "in.csv"
    source.parent.mkdir()
    source.touch()
    Path("link.csv").symlink_to(source)
    Path("hard.csv").hardlink_to(source)
    Path("alias").symlink_to("data")
    for output in ("data/in.csv", "data/../data/in.csv", "link.csv", "hard.csv", "alias/in.csv"):
        with pytest.raises(UserError, match=r"is also .*in\.csv, which it would replace; choose another output"):
            require_apart(Path(output), Path("other.csv"), source)
    with pytest.raises(UserError, match=r"is also link\.csv"):
        require_apart(source, Path("link.csv"))
    for output in ("data", "alias", "../" + tmp_path.name):
        with pytest.raises(UserError, match=r"holds .*, which would be lost with it"):
            require_apart(Path(output), source)
    with pytest.raises(UserError, match=r"holds alias/in\.csv"):
        require_apart(Path("data"), Path("alias/in.csv"))
    with pytest.raises(UserError, match="new is also x"):
        require_apart(Path("new"), Path("x/../new"))
    require_apart(Path("data/out.csv"), source, Path("missing"))
    require_apart(Path("dat"), source)


@pytest.mark.parametrize("path", [".", "..", "/", "a/.."])
def test_output_needs_a_name(path: str) -> None:
    """Raise for the working directory and those above it."""
    with pytest.raises(UserError, match="is no name for an output"):
        output_path(Path(path))


def test_output_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expand `~`; raise for an unknown user's."""
    monkeypatch.setenv("HOME", "/somewhere")
    assert output_path(Path("~/x")) == Path("/somewhere/x")
    with pytest.raises(UserError, match="there is no user 'nobody-of-that-name' here"):
        output_path(Path("~nobody-of-that-name/x"))


def test_kind_of_output_must_fit(tmp_path: Path) -> None:
    """Raise, before the block runs, for a file in a folder's place and the reverse."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a folder"), whole_file(tmp_path / "folder"):
        pytest.fail("the block must not run")
    with pytest.raises(UserError, match="is not a folder"), whole_folder(tmp_path / "file", overwrite=True):
        pytest.fail("the block must not run")


def test_require_absent(tmp_path: Path) -> None:
    """Raise for an existing output without --overwrite, and for a file as a parent."""
    (tmp_path / "file").touch()
    require_absent(tmp_path / "new" / "file")
    require_absent(tmp_path / "file", overwrite=True)
    with pytest.raises(UserError, match="--overwrite"):
        require_absent(tmp_path / "file")
    with pytest.raises(UserError, match="is not a folder"):
        require_absent(tmp_path / "file" / "inner")


class Settings(Config):
    """Settings of a test command."""

    source: Path = argument("Where from.")
    count: int = Field(3, ge=1, description="How many.")
    quick: bool = Field(False, description="Whether to hurry.")
    careful: bool = Field(True, description="Whether to look twice.")
    as_json: bool = Field(False, description="JSON.", json_schema_extra={"flag": "--json"})
    names: list[str] = Field(default_factory=lambda: ["a"], description="Names.")


def invoke(*arguments: str) -> tuple[Settings | None, str]:
    """Run a command made of `Settings`; return what it was called with, and its output."""
    seen: list[Settings] = []

    def run(settings: Settings) -> None:
        """Does nothing.

        A second paragraph
        of two lines.
        """
        seen.append(settings)

    app = typer.Typer()
    app.command()(command(Settings, run))
    result = CliRunner().invoke(app, arguments, catch_exceptions=True)
    if isinstance(result.exception, UserError):
        raise result.exception
    return (seen[0] if seen else None), result.output


def test_command_passes_what_was_given() -> None:
    """Pass arguments, options, switches and defaults as a validated configuration."""
    assert invoke("x")[0] == Settings(source=Path("x"))
    given = invoke("x", "--count", "5", "--quick", "--no-careful", "--json", "--names", "b", "--names", "c")[0]
    assert given == Settings(source=Path("x"), count=5, quick=True, careful=False, as_json=True, names=["b", "c"])


def test_command_help() -> None:
    """Show each description and default, and no --no- form of a switch that is off."""
    text = invoke("--help")[1]
    assert all(part in text for part in ["Where from.", "How many.", "[default: 3]", "--quick", "--no-careful"])
    assert "--no-quick" not in text
    assert "A second paragraph of two lines." in text


def test_faults_are_named_as_they_are_typed() -> None:
    """Name all faults in one line, by option; refuse an unknown key."""
    with pytest.raises(UserError, match=r"^--count: Input should be greater than or equal to 1$"):
        invoke("x", "--count", "0")
    with pytest.raises(UserError, match=r"SOURCE: .*; --json: .*; unknown: Extra inputs"):
        validated(Settings, {"source": 1, "as_json": "perhaps", "unknown": 1})


class Terminal(io.StringIO):
    """A file that calls itself a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Draw the bar on standard error alone."""
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert list(tracked("ab", "letters", 2)) == ["a", "b"]
    assert "━" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_progress_in_a_file_is_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Print a line per tenth, at most one in two seconds, at least one in half a minute, and one at the end."""
    now = [0.0]
    monkeypatch.setattr("bertwire_core.console.monotonic", lambda: now[0])
    with progress("reading", 1000) as bar:
        for completed, seconds in [(90, 5), (100, 6), (300, 7), (301, 8), (302, 37), (303, 38.1), (1000, 39)]:
            now[0] = seconds
            bar(completed, "note")
    assert list(tracked("ab", "letters", 2)) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "reading  10% 0:00:06 left 0:00:54 note",
        "reading  30% 0:00:08 left 0:00:19 note",
        "reading  30% 0:00:38 left 0:01:28 note",
        "reading 100% 0:00:39 note",
        "letters 100% 0:00:00",
    ]
