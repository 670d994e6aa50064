"""What is found in folders, what `models.toml` means, and when a change counts."""

from pathlib import Path

import pytest

from bertwire_core.errors import UserError
from bertwire_server.repository.changes import Changes
from bertwire_server.repository.entry import natural
from bertwire_server.repository.folder import Repository
from bertwire_server.repository.settings import ModelSettings, read_settings


def test_versions_sort_as_people_do() -> None:
    """Numbers in versions count as numbers, wherever they stand."""
    ordered = [
        "1",
        "01",
        "1.0",
        "1.0-rc1",
        "1.9",
        "1.10",
        "2",
        "10",
        "2024-01-02",
        "2024-1-10",
        "a1",
        "a10",
        "v2",
        "v10",
    ]
    assert sorted(set(ordered), key=natural) == ["01", *[each for each in ordered if each != "01"]]


def test_finds_names_and_versions(tmp_path: Path) -> None:
    """Folders and links to folders two levels down are found; files, hidden and oddly named ones are passed over."""
    for place in ("mood/1", "mood/.2", ".git/3", "odd name/1", "topic/a b", "topic/1.2-x_y"):
        (tmp_path / "r" / place).mkdir(parents=True)
    (tmp_path / "r" / "README.md").write_text("")
    (tmp_path / "r" / "mood" / "notes").write_text("")
    (tmp_path / "r" / "mood" / "9").symlink_to(tmp_path / "r" / "mood" / ".2")
    (tmp_path / "r" / "mood" / "10").symlink_to(tmp_path / "nothing")
    assert set(Repository(tmp_path / "r", None).scan().found) == {("mood", "1"), ("mood", "9"), ("topic", "1.2-x_y")}


def test_stamp_tells_every_change(tmp_path: Path) -> None:
    """A file added, written, or exchanged for one of the same size and time changes the stamp of its folder alone."""
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
    """What differs from look to look is still being written; a change is told once, and so is the first look."""
    looks = iter([1, 1, 1, 2, 3, 3, 3, 1, 1, 3, 3])
    changes = Changes(lambda: next(looks))
    told = [changes.poll() for _ in range(10)]
    assert told == [True, False, False, False, True, False, False, True, False, True]


def test_source_that_is_away_is_a_change() -> None:
    """A folder that cannot be looked at any more is told as a change, once."""

    def look() -> object:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    answers: list[object] = [1, 1, OSError("gone"), OSError("gone"), OSError("gone")]
    changes = Changes(look)
    assert [changes.poll() for _ in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [("all", ["10", "9", "2"]), (2, ["10", "9"]), (7, ["10", "9", "2"]), (("2", "10"), ["10", "2"])],
)
def test_chosen_versions(versions: object, chosen: list[str]) -> None:
    """All, the highest ones, or those that are listed."""
    assert ModelSettings(versions=versions).chosen({"2", "9", "10"}) == chosen


def test_named_versions_are_chosen() -> None:
    """A version that is the default or has an alias is served, whatever `versions` leaves out."""
    settings = ModelSettings(versions=1, default="2", aliases={"stable": "9"})
    assert settings.chosen({"1", "2", "9", "10"}) == ["10", "9", "2"]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("default = 3", "default: give the name of a model, as text"),
        (
            "[mood]\nversions = 0",
            'mood.versions: give "all", a number of at least 1, or a list of versions as text: ["9"]',
        ),
        (
            "[mood]\nversions = true",
            'mood.versions: give "all", a number of at least 1, or a list of versions as text: ["9"]',
        ),
        (
            "[mood]\nversions = ['a/b']",
            'mood.versions: give "all", a number of at least 1, or a list of versions as text: ["9"]',
        ),
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
    """Each fault is named by its place, all in one line."""
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(UserError) as caught:
        read_settings(tmp_path)
    assert "\n" not in str(caught.value)
    for fault in faults.split("|"):
        assert fault in str(caught.value)


def test_alias_is_no_version(tmp_path: Path) -> None:
    """An alias with the name of a version is refused, since it would hide that."""
    for version in "12":
        (tmp_path / "mood" / version).mkdir(parents=True)
    (tmp_path / "models.toml").write_text('[mood]\naliases = { 1 = "2" }')
    with pytest.raises(UserError, match=r"mood\.aliases\.1: a version has this name"):
        Repository(tmp_path, None).scan()
