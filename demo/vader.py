"""The demo's data: 23,700 short English texts, each with the mean of about 20 human sentiment ratings.

From the source archive of the package vaderSentiment (MIT licence): C.J. Hutto and E.E. Gilbert, VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text, ICWSM-14.
"""

import csv
import hashlib
import html
import io
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bertwire_core.console import err
from bertwire_core.errors import UserError
from bertwire_core.files import whole_file

SDIST = "vaderSentiment-3.3.2.tar.gz"
SDIST_SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
SEED = 13
# Training texts, of 18,845 available: one to two minutes on two cores.
TRAIN_TEXTS = 6000
# Absolute mean rating below which a text is neutral, on the scale from -4 to 4.
NEUTRAL = 0.5

_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_SOURCES = ("amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets")
# Bytes per archive member, far above the real sizes; bounds what a crafted archive unpacks to.
_MAX_BYTES = 50 << 20


def fetch(folder: Path) -> Path:
    """Download the source archive from the configured package index, unless it is already in `folder`.

    Raises:
        UserError: the download failed or its SHA-256 is wrong.
    """
    archive = folder / SDIST
    if archive.is_file() and _sha256(archive) == SDIST_SHA256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name, err.status("Fetching the VADER texts with pip"):
        downloaded = download(Path(name))
        if (found := _sha256(downloaded)) != SDIST_SHA256:
            raise UserError(f"{SDIST} has the SHA-256 {found}, not {SDIST_SHA256}; it is not opened")
        downloaded.replace(archive)
    return archive


def download(folder: Path) -> Path:
    """Download the source archive into `folder` by pip; raise `UserError` where that fails."""
    # pip runs a source archive's setup.py for its metadata, but checks the hash before that.
    pin = folder / "pin.txt"
    pin.write_text(f"vaderSentiment==3.3.2 --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    options = [
        "--no-deps",
        "--no-binary",
        "vaderSentiment",
        "--require-hashes",
        "--requirement",
        f"{pin}",
        "--dest",
        f"{folder}",
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode or not (folder / SDIST).is_file():
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no archive came"]
        raise UserError(f"pip could not fetch vaderSentiment==3.3.2 from the package index: {lines[0]}")
    return folder / SDIST


def read(archive: Path) -> list[tuple[str, str]]:
    """Return the texts with labels, in file order; a repeated text once, by its mean rating.

    Reads the archive's members by exact name, and unpacks nothing to disk.
    """
    ratings: dict[str, tuple[str, list[float]]] = {}
    with tarfile.open(archive) as outer, tarfile.open(fileobj=io.BytesIO(_member(outer, _INNER))) as inner:
        for source in _SOURCES:
            content = _member(inner, f"hutto_ICWSM_2014/{source}_GroundTruth.txt").decode()
            for text, rating in _lines(content):
                ratings.setdefault(text.casefold(), (text, []))[1].append(rating)
    return [(text, _label(sum(values) / len(values))) for text, values in ratings.values()]


def split(rows: list[tuple[str, str]], folder: Path) -> dict[str, Path]:
    """Write disjoint, reproducible CSV files: dev and test (10 % each) and train (at most 6,000 of the rest)."""
    rows = list(rows)
    random.Random(SEED).shuffle(rows)  # noqa: S311 - a fixed order, not a secret
    tenth = len(rows) // 10
    parts = {"dev": rows[:tenth], "test": rows[tenth : 2 * tenth], "train": rows[2 * tenth :][:TRAIN_TEXTS]}
    return {name: _write(part, folder / f"{name}.csv") for name, part in parts.items()}


def _write(rows: list[tuple[str, str]], path: Path) -> Path:
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
    return path


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.getmember(name)
    file = archive.extractfile(member) if member.isreg() and member.size <= _MAX_BYTES else None
    if file is None:
        raise UserError(f"{SDIST} does not hold {name} as a plain file")
    return file.read()


def _lines(content: str) -> Iterator[tuple[str, float]]:
    """Parse lines of `id TAB rating TAB text`; skip the few that are incomplete."""
    for line in content.split("\n"):
        fields = line.strip().split("\t", 2)
        if len(fields) == 3 and (text := " ".join(html.unescape(fields[2]).split())):
            yield text, float(fields[1])


def _label(rating: float) -> str:
    if abs(rating) < NEUTRAL:
        return "neutral"
    return "positive" if rating > 0 else "negative"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
