"""Standard streams that are closed, that nobody reads, that are full, or that have another encoding than UTF-8."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from fake import FakeServer
from support import bertwire

# An encoding that every machine has and that lacks most characters.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
SHOWN_IN_ASCII = {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"}
TEXT = "très 你好 😀 [b]"


def shell(command: list[str], streams: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """Runs a command with its streams as a shell redirects them; gives its own exit status."""
    line = f"set -o pipefail; {shlex.join(command)} {streams}"
    return subprocess.run(["/bin/bash", "-c", line], capture_output=True, env=os.environ | environment, check=False)


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "| true", "2>&1 >/dev/null | true"])
def test_streams_that_lead_nowhere(fake: FakeServer, tmp_path: Path, streams: str) -> None:
    """The work is done, and that nobody reads of it is no error."""
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(f"text\n{TEXT}\nbad\n", encoding="utf-8")
    done = shell(bertwire("score", source, "--output", output, "--server", fake.address), streams)
    assert done.returncode == 1, "a row has failed, and the exit status says so"
    assert b"internal error" not in done.stderr
    assert output.read_text(encoding="utf-8").startswith(
        f"text,predicted_label,predicted_score,predicted_truncated,predicted_error,predicted_model\n{TEXT},"
    )


def test_result_that_nobody_wants(fake: FakeServer) -> None:
    """A closed standard output is what was asked for."""
    done = shell(bertwire("classify", fake.address, TEXT), ">&-")
    assert (done.returncode, done.stderr) == (0, b"")


def test_file_that_lacks_output() -> None:
    """A disk that is full under standard output is told, and the exit status says so."""
    done = shell(bertwire("--version"), ">/dev/full")
    assert (done.returncode, done.stderr) == (1, b"bertwire: error: no space left on device: standard output\n")


def test_terminal_that_cannot_show_a_text(fake: FakeServer) -> None:
    """What the encoding lacks is an escape; JSON stays JSON."""
    done = shell(bertwire("classify", fake.address, "a", TEXT), "", **SHOWN_IN_ASCII)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u4f60\\u597d" in done.stdout
    done = shell(bertwire("classify", fake.address, TEXT, "--json"), "", **SHOWN_IN_ASCII)
    assert json.loads(done.stdout)["text"] == TEXT
    done = shell(bertwire("classify", fake.address, TEXT, "--json"), "", PYTHONIOENCODING="utf-8")
    assert TEXT.encode() in done.stdout


def test_files_are_utf8_in_every_locale(fake: FakeServer, tmp_path: Path) -> None:
    """Also where the locale says ASCII; names of files and columns included."""
    source, output, summary = tmp_path / "données.jsonl", tmp_path / "sortie.jsonl", tmp_path / "s.json"
    source.write_text(json.dumps({"text": TEXT, "é": "ü"}, ensure_ascii=False) + "\n", encoding="utf-8")
    options = ["--output", output, "--summary", summary, "--server", fake.address]
    done = shell(bertwire("score", source, *options), "", **ASCII)
    assert done.returncode == 0, done.stderr
    (row,) = map(json.loads, output.read_text(encoding="utf-8").splitlines())
    assert (row["text"], row["é"], row["predicted_label"]) == (TEXT, "ü", "short")
    done = shell(bertwire("score", source, "--text-column", "no such column", *options, "--overwrite"), "", **ASCII)
    assert done.returncode == 1
    assert b"internal" not in done.stderr
