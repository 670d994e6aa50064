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

from bertwire_cli.main import main
from bertwire_core.commands import COMMANDS
from bertwire_core.errors import UserError, first_line
from bertwire_core.faults import report

if TYPE_CHECKING:
    from fake import FakeServer

COMMAND = [sys.executable, "-m", "bertwire_cli"]


def bertwire(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Runs the command; `before` is Python run ahead of it in the same process."""
    command = COMMAND
    if before:
        command = [sys.executable, "-c", f"import sys\n{before}\nfrom bertwire_cli.main import main\nmain()"]
    environment = os.environ | {"COLUMNS": "80"}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=60)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Standard error, which must be one line of bertwire's own at its end and no trace."""
    lines = result.stderr.splitlines()
    assert "Traceback" not in result.stderr
    assert [line.startswith("bertwire: ") for line in lines].count(True) == 1
    return lines[-1]


def test_help_lists_all_commands_and_loads_none() -> None:
    """Each command has its line, and no part is imported for it."""
    check = "import atexit; atexit.register(lambda: print([m for m in sys.modules if m.startswith('bertwire_')]))"
    result = bertwire("--help", before=check)
    assert result.returncode == 0
    assert all(command.summary in result.stdout for command in COMMANDS.values())
    assert not any(part in result.stdout.splitlines()[-1] for part in ["trainer", "export", "server", "score"])


def test_score_loads_no_other_part() -> None:
    """Help of one command works without the modules of the others."""
    blocked = "for name in ('bertwire_trainer', 'bertwire_export', 'bertwire_server'): sys.modules[name] = None"
    result = bertwire("score", "--help", before=blocked)
    assert (result.returncode, result.stderr) == (0, "")
    assert "--text-column" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_in_full(command: str) -> None:
    """On a terminal of 80 columns nothing is cut, and no type is Python's own."""
    text = bertwire(command, "--help").stdout
    assert len(text.splitlines()) > 5
    assert "…" not in text
    assert "typing." not in text
    assert max(map(len, text.splitlines())) <= 80


def test_version() -> None:
    """It needs no command."""
    assert bertwire("--version").stdout.split()[0] == "bertwire"


@pytest.mark.parametrize("arguments", [("nope",), ("score",), ("score", "a.csv", "--nope")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Usage errors exit 2."""
    assert bertwire(*arguments).returncode == 2


def test_score_succeeds_and_fails(tmp_path: Path, fake: FakeServer) -> None:
    """Exit 0 where every row has a prediction; exit 1 with the count and the output where one has none."""
    for texts, status in {"a\nb\n": 0, "a\nbad\n": 1}.items():
        (tmp_path / "in.csv").write_text("text\n" + texts)
        output = tmp_path / f"out{status}.csv"
        result = bertwire("score", tmp_path / "in.csv", "--output", output, "--address", fake.address)
        assert (result.returncode, result.stdout) == (status, "")
        assert len(output.read_text().splitlines()) == 3
        assert "2 rows" in result.stderr
    assert one_line(result) == ("bertwire: error: 1 of 2 rows have no prediction; column 'predicted_error' says why")


def test_user_errors_are_one_line(tmp_path: Path, nowhere: str) -> None:
    """A missing file, options out of range, a server that is not there."""
    (tmp_path / "in.csv").write_text("text\na\n")
    output = ("--output", tmp_path / "out.csv")
    missing = bertwire("score", tmp_path / "no.csv", *output)
    assert (missing.returncode, one_line(missing)) == (1, f"bertwire: error: {tmp_path / 'no.csv'}: no such file")
    wrong = bertwire("score", tmp_path / "in.csv", *output, "--batch-size", "0")
    assert "--batch-size: Input should be greater" in one_line(wrong)
    away = bertwire("score", tmp_path / "in.csv", *output, "--address", nowhere)
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
    """Ctrl-C, SIGTERM or both exit 130 with one line and no output, SIGTERM also where Ctrl-C is ignored."""
    reached, release = threading.Event(), threading.Event()

    def fail(_: object) -> None:
        reached.set()
        release.wait(60)

    fake.fail = fail
    (tmp_path / "in.csv").write_text("text\na\n")
    arguments = ["score", tmp_path / "in.csv", "--output", tmp_path / "out.csv", "--address", fake.address]
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if ignored else ""
    command = [sys.executable, "-c", f"{code}from bertwire_cli.main import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert reached.wait(30)
            for number in numbers:
                process.send_signal(number)
            error = process.communicate(timeout=30)[1]
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


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGTERM"), ("SIGTERM", "SIGINT"), ("SIGINT", "SIGINT")])
def test_second_signal_does_not_disturb_the_end(first: str, second: str) -> None:
    """A signal that comes while the first winds down changes nothing."""
    script = WIND_DOWN.format(first=first, rest=f"os.kill(os.getpid(), signal.{second})")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "wound down\n", "bertwire: interrupted\n")


def test_signal_at_the_very_end_changes_nothing() -> None:
    """The exit status is that of the first signal, also where the second finds Python clearing up."""
    late = "class Late:\n def __del__(self, kill=os.kill, me=os.getpid()): kill(me, 15)\nsys.late = Late()"
    script = WIND_DOWN.format(first="SIGINT", rest="pass").replace("with readable", f"{late}\nwith readable")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "wound down\n", "bertwire: interrupted\n")


def test_third_signal_ends_at_once() -> None:
    """A process that does not wind down can be ended all the same."""
    rest = "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)"
    script = WIND_DOWN.format(first="SIGINT", rest=rest)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "")


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
    """It ends the process with one line, also that of the server, which has handlers of its own later."""
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
    ],
)
def test_missing_packages_are_named(command: str, missing: str, install: str) -> None:
    """A part whose packages are absent says in one line what to install."""
    result = bertwire(command, "x", before=f"sys.modules[{missing!r}] = None")
    assert result.returncode == 1
    assert (
        one_line(result)
        == f"bertwire: bertwire {command} needs {missing}: pip install {install} in the folder of bertwire's source"
    )


def test_missing_pyarrow_is_named(tmp_path: Path) -> None:
    """Parquet has an extra of its own."""
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    arguments = ("score", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet")
    result = bertwire(*arguments, before="sys.modules['pyarrow'] = None")
    assert one_line(result) == (
        "bertwire: bertwire score needs pyarrow: pip install '.[parquet]' in the folder of bertwire's source"
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
    """Every kind of error is one line with its exit status."""
    assert report(error, "score", "'.[cli]'") == status
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize(("message", "line"), [("", "ValueError"), ("\n \n", "ValueError"), ("\n a\nb", "a")])
def test_first_line_of_any_message(message: str, line: str) -> None:
    """An error without a message is named by its kind."""
    assert first_line(ValueError(message)) == line


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """BERTWIRE_DEBUG=1 brings it back."""
    monkeypatch.setenv("BERTWIRE_DEBUG", "1")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        report(error, "score", "'.[cli]'")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_broken_pipe_is_quiet() -> None:
    """A reader that went away gets no complaint, not even from the flush at exit."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def test_main_is_the_entry_point() -> None:
    """The installed command is this function."""
    from importlib.metadata import entry_points

    (found,) = entry_points(group="console_scripts", name="bertwire")
    assert found.load() is main
