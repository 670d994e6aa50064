"""The `bertwire` command as a process: exit status and one line for every failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bertwire_core.commands import COMMANDS
from bertwire_core.errors import UserError, first_line
from bertwire_core.faults import report

if TYPE_CHECKING:
    from fake import FakeServer

COMMAND = [sys.executable, "-m", "bertwire_cli"]


def bertwire(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command; `before` is Python run ahead of it in the same process."""
    command = COMMAND
    if before:
        command = [sys.executable, "-c", f"import sys\n{before}\nfrom bertwire_cli.main import main\nmain()"]
    environment = os.environ | {"COLUMNS": "80"}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return standard error's last line, the one of bertwire's own, without a trace."""
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert [line.startswith("bertwire: ") for line in lines].count(True) == 1
    return lines[-1]


def test_help_lists_all_commands_and_loads_none() -> None:
    """List each command without importing its package."""
    check = "import atexit; atexit.register(lambda: print([m for m in sys.modules if m.startswith('bertwire_')]))"
    result = bertwire("--help", before=check)
    assert result.returncode == 0
    assert all(command.summary in result.stdout for command in COMMANDS.values())
    assert not any(part in result.stdout.splitlines()[-1] for part in ["trainer", "export", "server", "score"])


def test_score_loads_no_other_part() -> None:
    """Show help of one command without the modules of the others."""
    blocked = "for name in ('bertwire_trainer', 'bertwire_export', 'bertwire_server'): sys.modules[name] = None"
    result = bertwire("score", "--help", before=blocked)
    assert (result.returncode, result.stderr) == (0, "")
    assert "--text-column" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_in_full(command: str) -> None:
    """Show all of it on a terminal of 80 columns, without Python's names of types."""
    text = bertwire(command, "--help").stdout
    assert len(text.splitlines()) > 5
    assert "…" not in text
    assert "typing." not in text
    assert max(map(len, text.splitlines())) <= 80


def test_version_and_wrong_usage() -> None:
    """Print the version without a command; exit 2 for errors of usage."""
    assert bertwire("--version").stdout.split()[0] == "bertwire"
    for arguments in (("nope",), ("score",), ("score", "a.csv", "--nope")):
        assert bertwire(*arguments).returncode == 2


def test_score_succeeds_and_fails(tmp_path: Path, fake: FakeServer) -> None:
    """Exit 0 where every row has a prediction; exit 1 with the count and the output where one has none."""
    for texts, status in {"a\nb\n": 0, "a\nbad\n": 1}.items():
        (tmp_path / "in.csv").write_text("text\n" + texts)
        output = tmp_path / f"out{status}.csv"
        result = bertwire("score", tmp_path / "in.csv", "--output", output, "--server", fake.address)
        assert (result.returncode, result.stdout) == (status, "")
        assert len(output.read_text().splitlines()) == 3
        assert "2 rows" in result.stderr
    assert one_line(result) == ("bertwire: error: 1 of 2 rows have no prediction; column 'predicted_error' says why")


def test_user_errors_are_one_line(tmp_path: Path, nowhere: str) -> None:
    """Exit with one line for a missing file, options out of range and a server that is not there."""
    (tmp_path / "in.csv").write_text("text\na\n")
    output = ("--output", tmp_path / "out.csv")
    missing = bertwire("score", tmp_path / "no.csv", *output)
    assert (missing.returncode, one_line(missing)) == (1, f"bertwire: error: {tmp_path / 'no.csv'}: no such file")
    wrong = bertwire("score", tmp_path / "in.csv", *output, "--batch-size", "0")
    assert "--batch-size: Input should be greater" in one_line(wrong)
    away = bertwire("score", tmp_path / "in.csv", *output, "--server", nowhere)
    assert (away.returncode, f"no server answers at {nowhere}" in one_line(away)) == (1, True)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("numbers", "ignored"),
    [
        ([signal.SIGINT], False),
        ([signal.SIGTERM], False),
        ([signal.SIGTERM], True),
        ([signal.SIGINT, signal.SIGTERM], False),
    ],
)
def test_interruption_leaves_nothing(
    numbers: list[signal.Signals], ignored: bool, tmp_path: Path, fake: FakeServer
) -> None:
    """Exit 130 with one line and no output after SIGINT, SIGTERM or both, also where SIGINT is ignored."""
    reached, release = threading.Event(), threading.Event()

    def fail(_: object) -> None:
        reached.set()
        release.wait(60)

    fake.fail = fail
    (tmp_path / "in.csv").write_text("text\na\n")
    arguments = ["score", tmp_path / "in.csv", "--output", tmp_path / "out.csv", "--server", fake.address]
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if ignored else ""
    command = [sys.executable, "-c", f"{code}from bertwire_cli.main import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert reached.wait(60)
            for number in numbers:
                process.send_signal(number)
            error = process.communicate(timeout=60)[1]
        finally:
            process.kill()
            release.set()
    assert process.returncode == 130
    assert error.splitlines()[-1] == "bertwire: interrupted"
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


WIND_DOWN = """
import os, signal, sys
from bertwire_core.process import interrupt_on_signals, readable
interrupt_on_signals()
with readable("export"):
    try:
        os.kill(os.getpid(), signal.{first})
        print("not interrupted")
    finally:
        {rest}
        print("wound down")
"""


SIGINT, SIGTERM = (f"os.kill(os.getpid(), signal.{name})" for name in ("SIGINT", "SIGTERM"))
AT_EXIT = "class Late:\n def __del__(self, kill=os.kill, me=os.getpid()): kill(me, 15)\nsys.late = Late()"
INTERRUPTED = (130, "wound down\n", "bertwire: interrupted\n")


@pytest.mark.parametrize(
    ("first", "rest", "late", "end"),
    [
        ("SIGINT", SIGTERM, "", INTERRUPTED),
        ("SIGTERM", SIGINT, "", INTERRUPTED),
        ("SIGINT", SIGINT, "", INTERRUPTED),
        ("SIGINT", "pass", AT_EXIT, INTERRUPTED),
        ("SIGINT", f"{SIGINT}; {SIGTERM}", "", (-signal.SIGTERM, "", "")),
    ],
)
def test_further_signals(first: str, rest: str, late: str, end: tuple[int, str, str]) -> None:
    """Ignore a second signal while the process winds down or exits; end at once by a third."""
    script = WIND_DOWN.format(first=first, rest=rest).replace("with readable", f"{late}\nwith readable")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == end


SIGNAL_AT_IMPORT = """
import os
class Finder:
    def find_spec(self, name, *_):
        if name == "pydantic":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["serve", "export"])
def test_signal_while_a_command_is_imported(command: str, number: signal.Signals) -> None:
    """Exit 130 with one line, also of the server, which sets its own handlers later."""
    result = bertwire(command, "x", before=SIGNAL_AT_IMPORT.format(number=int(number)))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "bertwire: interrupted\n")


@pytest.mark.parametrize(
    ("command", "missing", "install"),
    [
        ("score", "pydantic", "'.[cli]'"),
        ("score", "typer", "'.[cli]'"),
        ("train", "pydantic", "'.[train]'"),
        ("export", "pydantic", "'.[export,cpu]' or '.[export,gpu]'"),
        ("inspect", "rich", "'.[cli]'"),
        ("bundle", "pydantic", "'.[sign]'"),
        ("serve", "pydantic", "'.[serve,cpu]' or '.[serve,gpu]'"),
        ("serve", "cryptography", "'.[serve,cpu]' or '.[serve,gpu]'"),
        ("score", "pyarrow", "'.[parquet]'"),
    ],
)
def test_missing_packages_are_named(command: str, missing: str, install: str, tmp_path: Path) -> None:
    """Name in one line what to install for a command, or for Parquet files, whose packages are absent."""
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    arguments = (tmp_path / "in.parquet", "--output", tmp_path / "out.parquet") if missing == "pyarrow" else ("x",)
    result = bertwire(command, *arguments, before=f"sys.modules[{missing!r}] = None")
    assert result.returncode == 1
    assert (
        one_line(result)
        == f"bertwire: bertwire {command} needs {missing}: pip install {install} in the folder of bertwire's source"
    )


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (UserError("two\nlines"), "bertwire: error: two lines", 1),
        (OSError(28, "No space left on device", "out"), "bertwire: error: no space left on device: out", 1),
        (OSError(28, "No space left on device"), "bertwire: error: no space left on device", 1),
        (PermissionError(13, "Permission denied", "in"), "bertwire: error: permission denied: in", 1),
        (
            ZeroDivisionError("by zero"),
            "bertwire: internal error: ZeroDivisionError: by zero; run with BERTWIRE_DEBUG=1 for the traceback",
            70,
        ),
        (
            ModuleNotFoundError("No module named 'bertwire_x'", name="bertwire_x"),
            "bertwire: internal error: ModuleNotFoundError: No module named 'bertwire_x'; "
            "run with BERTWIRE_DEBUG=1 for the traceback",
            70,
        ),
    ],
)
def test_errors_become_lines(error: Exception, line: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Print every kind of error as one line, with its exit status."""
    assert report(error, "score", "'.[cli]'") == status
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(("message", "line"), [("", "ValueError"), ("\n \n", "ValueError"), ("\n a\nb", "a")])
def test_first_line_of_any_message(message: str, line: str) -> None:
    """Name an error without a message by its type."""
    assert first_line(ValueError(message)) == line


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the traceback with BERTWIRE_DEBUG=1."""
    monkeypatch.setenv("BERTWIRE_DEBUG", "1")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        report(error, "score", "'.[cli]'")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_broken_pipe_is_quiet() -> None:
    """Print nothing where the reader has gone, not even from the flush at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")
