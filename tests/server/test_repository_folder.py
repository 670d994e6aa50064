"""What is found in folders, what `models.toml` means, and when a change counts."""

import re
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.errors import UserError
from bertwire_server.repository.changes import Changes
from bertwire_server.repository.entry import natural
from bertwire_server.repository.folder import Repository
from bertwire_server.repository.settings import ModelSettings, read_settings


def test_versions_sort_as_people_do() -> None:
    """Sort versions by the numbers in them, wherever they stand."""
    ordered = [
        "1", "01", "1.0", "1.0-rc1", "1.9", "1.10", "2", "10", "2024-01-02", "2024-1-10", "a1", "a10", "v2", "v10",
    ]  # fmt: skip
    assert sorted(set(ordered), key=natural) == ["01", *[each for each in ordered if each != "01"]]


def test_finds_names_and_versions(tmp_path: Path) -> None:
    """Find folders and links two levels down; pass over files, hidden and oddly named ones."""
    for place in ("mood/1", "mood/.2", ".git/3", "odd name/1", "topic/a b", "topic/1.2-x_y"):
        (tmp_path / "r" / place).mkdir(parents=True)
    (tmp_path / "r" / "README.md").write_text("")
    (tmp_path / "r" / "mood" / "notes").write_text("")
    (tmp_path / "r" / "mood" / "9").symlink_to(tmp_path / "r" / "mood" / ".2")
    (tmp_path / "r" / "mood" / "10").symlink_to(tmp_path / "nothing")
    assert set(Repository(tmp_path / "r", None).scan().found) == {("mood", "1"), ("mood", "9"), ("topic", "1.2-x_y")}


def test_stamp_tells_every_change(tmp_path: Path) -> None:
    """Change the stamp of a folder whose file is added, written or exchanged, and no other."""
    for version in "12":
        (tmp_path / "m" / version).mkdir(parents=True)
        (tmp_path / "m" / version / "file").write_text("a")
    repository = Repository(tmp_path, None)
    found = [repository.scan().found]
    (tmp_path / "m" / "1" / "more").write_text("b")
    found.append(repository.scan().found)
    (tmp_path / "m" / "1" / "file").write_text("longer")
    found.append(repository.scan().found)
    (tmp_path / "m" / "1" / "file").rename(tmp_path / "kept")
    (tmp_path / "m" / "1" / "file").write_text("longer")
    found.append(repository.scan().found)
    assert len({each["m", "1"].stamp for each in found}) == 4
    assert len({each["m", "2"].stamp for each in found}) == 1


def test_change_counts_once_it_has_settled() -> None:
    """Report the first look, each change that two looks agree on, and a folder that is away, once each."""

    def look() -> object:
        if (found := next(looks)) is None:
            raise OSError("gone")
        return found

    looks = iter([1, 1, 1, 2, 3, 3, 3, 1, 1, 3, 3, None, None, None])
    changes = Changes(look)
    told = [changes.poll() for _ in range(13)]
    assert told == [True, False, False, False, True, False, False, True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({}, ["10", "9", "2", "1"]),
        ({"versions": 2}, ["10", "9"]),
        ({"versions": 7}, ["10", "9", "2", "1"]),
        ({"versions": ("2", "10")}, ["10", "2"]),
        ({"versions": 1, "default": "2", "aliases": {"stable": "9"}}, ["10", "9", "2"]),
    ],
)
def test_chosen_versions(settings: dict[str, Any], chosen: list[str]) -> None:
    """Choose all versions, the highest ones or those listed, and always the default and aliased ones."""
    assert ModelSettings(**settings).chosen({"1", "2", "9", "10"}) == chosen


VERSIONS = 'mood.versions: give "all", a number of at least 1, or a list of versions as text: ["9"]'


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("default = 3", "default: give the name of a model, as text"),
        ("[mood]\nversions = 0", VERSIONS),
        ("[mood]\nversions = true", VERSIONS),
        ("[mood]\nversions = ['a/b']", VERSIONS),
        (
            "[mood]\ndefault = ''\n[a]\nx = 1",
            "mood.default: string should match pattern|a.x: no such setting; there are versions, default, aliases",
        ),
        ("[mood]\naliases = { '../x' = '1' }", "mood.aliases.../x: string should match pattern"),
        (
            "[mood]\nalias = { a = '1' }\ndefault = 9",
            "mood.alias: no such setting; is aliases meant?|mood.default: give a v",
        ),
        ("defalt = 'mood'\n[a]\nx = 1", "defalt: no such setting; is default meant, or a table [defalt]?|a.x: no such"),
        ("['../x']", "../x: string should match pattern"),
        ("\x00", "is not TOML"),
    ],
)
def test_faulty_settings(tmp_path: Path, text: str, faults: str) -> None:
    """Name each fault by its place, all in one line."""
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_settings(tmp_path)
    assert "\n" not in str(caught.value)
    for fault in faults.split("|"):
        assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[mood]\naliases = { 1 = '2' }", "mood.aliases.1: a version has this name"),
        ("[mood]\naliases = { best = '3' }", "mood.aliases.best: the repository has no version '3' of it"),
        ("[mood]\nversions = ['3']", "mood.versions[0]: the repository has no version '3' of it"),
    ],
)
def test_settings_that_do_not_fit_the_repository(tmp_path: Path, text: str, fault: str) -> None:
    """Raise for names of versions that are not there, and for an alias that would hide one."""
    for version in "12":
        (tmp_path / "mood" / version).mkdir(parents=True)
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(UserError, match=re.escape(fault)):
        Repository(tmp_path, None).scan()
