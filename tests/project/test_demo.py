"""The demo's own parts: the texts it cuts, the results it trusts, and what an interruption leaves."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import psutil
import pytest

from bertwire_core.errors import UserError
from demo import __main__ as demo
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
    monkeypatch.setattr(vader, "download", lambda folder: (tmp_path / "other.tar.gz").rename(folder / "x"))
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


def test_trains_on_some_of_the_texts(tmp_path: Path) -> None:
    """Of more texts than the demo has time for all are held out that would be, and no more trained on than it says."""
    parts = vader.split([(f"text {number}", "positive") for number in range(2 * vader.TRAIN_TEXTS)], tmp_path)
    rows = {name: len(path.read_text().splitlines()) - 1 for name, path in parts.items()}
    tenth = vader.TRAIN_TEXTS // 5
    assert rows == {"train": vader.TRAIN_TEXTS, "dev": tenth, "test": tenth}


def test_says_how_long_each_step_took() -> None:
    """The steps stand in their order, those that were over at once too."""
    clock = steps.Clock()
    with clock.step("training"):
        pass
    with clock.step("export"):
        pass
    assert str(clock) == "training 0 s, export 0 s: 0 s in all"


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


def test_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C while it trains ends the demo and its child with 130; what is left is not taken for a result."""
    texts = tmp_path / "build" / "vader"
    texts.mkdir(parents=True)
    shutil.copy(vader.fetch(ROOT / "build" / "vader"), texts)
    command = [sys.executable, "-m", "demo", "--short"]
    sources = [str(ROOT / part) for part in (".", "protos", "client", "trainer", "export", "server")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sources)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if line.startswith("epoch 1/1"):
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert children, "".join(seen)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in errors
    built = tmp_path / "build" / "demo-short"
    assert (built / "checkpoint.partial").exists()
    assert not (built / "checkpoint").exists()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Takes down the commands that the demo would run, none of which leaves a result."""
    seen: list[tuple[object, ...]] = []

    def fail(*arguments: object) -> None:
        seen.append(arguments)
        raise UserError("no space left on the disk")

    monkeypatch.setattr("demo.__main__.run", fail)
    return seen


def test_failed_resume_is_not_thrown_away(tmp_path: Path, commands: list[tuple[object, ...]]) -> None:
    """Training that failed is resumed, again and again, until its texts, its recipe or the code change."""
    splits = {name: tmp_path / f"{name}.csv" for name in ("train", "dev", "test")}
    for path in splits.values():
        path.write_text("text,label\n")
    for content in ("a", "a", "a", "b", "b"):
        splits["dev"].write_text(content)
        with pytest.raises(UserError, match="no space"):
            demo.train(tmp_path / "checkpoint", splits)
    assert [arguments[-1] for arguments in commands] == [
        *("--overwrite", "--resume", "--resume"),
        *("--overwrite", "--resume"),
    ]


def test_export_without_its_report_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole bundle is used again as long as its report lies beside it."""
    seen: list[object] = []

    def export(command: str, *_: object) -> None:
        seen.append(command)
        (tmp_path / "vader").mkdir(exist_ok=True)
        (tmp_path / "vader.report.html").touch()

    monkeypatch.setattr("demo.__main__.run", export)
    (tmp_path / "checkpoint").mkdir()
    for _ in range(2):
        demo.export(tmp_path / "vader", tmp_path / "checkpoint", short=True)
    assert seen == ["export", "inspect"]
    (tmp_path / "vader.report.html").unlink()
    demo.export(tmp_path / "vader", tmp_path / "checkpoint", short=True)
    assert seen == ["export", "inspect"] * 2


def test_changed_code_makes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package's hash changes with its sources, and with nothing that Python leaves beside them."""
    package = tmp_path / "some_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = steps.code_hash(package.name)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "__init__.pyc").write_text("")
    assert steps.code_hash(package.name) == before
    (package / "part.py").write_text("")
    assert steps.code_hash(package.name) != before
