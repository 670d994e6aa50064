"""The demo's own parts: the texts it cuts, the results it trusts, and what an interruption leaves."""

import io
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import psutil
import pytest

from bertwire_client.errors import UserError
from demo import steps, vader

ROOT = Path(__file__).resolve().parents[2]


def archive(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    """Writes a source archive whose inner archive holds these members."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, content in members.items():
            tar.addfile(_info(f"hutto_ICWSM_2014/{name}_GroundTruth.txt", content, kind), io.BytesIO(content))
    with tarfile.open(path, mode="w:gz") as tar:
        name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        tar.addfile(_info(name, inner.getvalue()), io.BytesIO(inner.getvalue()))
    return path


def _info(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    return info


SOURCES = dict.fromkeys(("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets"), b"")


def test_cuts_ratings_into_labels(tmp_path: Path) -> None:
    """The mean rating becomes a label; entities are read, blank and odd lines skipped, a text is given once."""
    lines = b"1\t0.5\tGood &amp; fine.\r\n2\t-0.5\tbad\r\n\r\n3\t0.49\tso so\r\n4\t3\tno text after this\r\nodd\r\n"
    more = b"5\t1\tBAD\r\n"
    path = archive(tmp_path / "a.tar.gz", SOURCES | {"tweets": lines, "amazonReviewSnippets": more})
    assert vader.read(path) == [
        ("BAD", "neutral"),
        ("Good & fine.", "positive"),
        ("so so", "neutral"),
        ("no text after this", "positive"),
    ]


def test_refuses_link_in_archive(tmp_path: Path) -> None:
    """A member that is a link to somewhere else is not followed."""
    path = archive(tmp_path / "a.tar.gz", SOURCES, kind=tarfile.SYMTYPE)
    with pytest.raises(UserError, match="as a plain file"):
        vader.read(path)


def test_refuses_other_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive with another hash is not opened, nor kept."""
    (tmp_path / "other.tar.gz").write_bytes(b"not it")
    monkeypatch.setattr(vader, "_download", lambda folder: (tmp_path / "other.tar.gz").rename(folder / "x"))
    with pytest.raises(UserError, match="it is not opened"):
        vader.fetch(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_split_is_fixed_and_disjoint(tmp_path: Path) -> None:
    """The same rows give the same files, and no text is in two of them."""
    rows = [(f"text {number}", "positive") for number in range(100)]
    first, again = vader.split(rows, tmp_path / "a"), vader.split(rows, tmp_path / "b")
    assert {name: path.read_text() for name, path in first.items()} == {n: p.read_text() for n, p in again.items()}
    texts = [line for path in first.values() for line in path.read_text().splitlines()[1:]]
    assert (len(texts), len(set(texts))) == (100, 100)
    assert [len(first[name].read_text().splitlines()) - 1 for name in ("train", "dev", "test")] == [80, 10, 10]


def test_trusts_only_untouched_results(tmp_path: Path) -> None:
    """A result is used again only whole, unchanged and made from the same inputs."""
    output = tmp_path / "result"
    output.mkdir()
    (output / "weights").write_text("1")
    assert not steps.made_from(output, {"data": "a"})
    steps.keep(output, {"data": "a"})
    assert steps.made_from(output, {"data": "a"})
    assert not steps.made_from(output, {"data": "b"})
    (output / "weights").write_text("2")
    assert not steps.made_from(output, {"data": "a"})


@pytest.mark.timeout(300)
def test_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C while it trains ends the demo and its child with 130; what is left is not taken for a result."""
    command = [sys.executable, "-m", "demo", "--short"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as demo:
        partial = tmp_path / "build" / "demo-short" / "checkpoint.partial"
        while not partial.exists() and demo.poll() is None:
            time.sleep(0.05)  # for a file to appear, no other sign reaches this process
        children = psutil.Process(demo.pid).children(recursive=True)
        assert children
        demo.send_signal(signal.SIGINT)
        errors = demo.communicate(timeout=60)[1]
    assert demo.returncode == 130, errors
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in errors
    assert not partial.with_name("checkpoint").exists()
