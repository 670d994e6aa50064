"""A bundle opens only as it was sealed."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from bertwire_export.bundle import BundleError, open_bundle
from support import Edit, bertwire, reseal


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def refusal(folder: Path) -> str:
    """Opens a bundle that must be refused and gives the reason, which is one line."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_opens_as_sealed(bundle: Path) -> None:
    """An untouched bundle opens, with its variants fastest first."""
    manifest = open_bundle(bundle).manifest
    speeds = [variant.speed.cpu_ms_per_text for variant in manifest.variants]
    assert sorted(each.name for each in manifest.variants) == ["fp32-packed", "int8-packed"]
    assert speeds == sorted(speeds)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "tokenizer.json", "fp32-packed.onnx", "int8-packed.onnx"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_refuses_flipped_bit(copy: Path, name: str, place: float) -> None:
    """One bit changed in any file, at its start, middle or end, is found."""
    content = bytearray((copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    assert name in refusal(copy)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "tokenizer.json", "fp32-packed.onnx", "int8-packed.onnx"])
def test_refuses_missing_file(copy: Path, name: str) -> None:
    """A file that is not there is named."""
    (copy / name).unlink()
    assert f"{name} is missing" in refusal(copy)


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "int8-packed.onnx"])
def test_refuses_truncated_file(copy: Path, name: str) -> None:
    """A file cut short is found."""
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    assert name in refusal(copy)


def test_refuses_swapped_variants(copy: Path) -> None:
    """Two graphs under each other's name are found, though each is intact."""
    (copy / "fp32-packed.onnx").rename(copy / "other")
    (copy / "int8-packed.onnx").rename(copy / "fp32-packed.onnx")
    (copy / "other").rename(copy / "int8-packed.onnx")
    assert "were sealed; copy the bundle again" in refusal(copy)


def test_refuses_added_file(copy: Path) -> None:
    """A file that the manifest does not list is no part of a bundle."""
    (copy / "extra.bin").write_bytes(b"x")
    assert "'extra.bin' does not belong" in refusal(copy)


def test_refuses_symbolic_link(copy: Path) -> None:
    """A link in place of a file could change what it points at after it was verified."""
    (copy / "int8-packed.onnx").rename(copy.parent / "elsewhere.onnx")
    (copy / "int8-packed.onnx").symlink_to(copy.parent / "elsewhere.onnx")
    assert "no plain file" in refusal(copy)


def test_refuses_folder_that_is_none(tmp_path: Path) -> None:
    """A missing folder and an empty one are told apart."""
    assert "no such bundle" in refusal(tmp_path / "missing")
    assert "manifest.json is missing" in refusal(tmp_path)


@pytest.mark.parametrize("version", [0, 2, "1", True, None])
def test_refuses_unknown_schema(copy: Path, version: object) -> None:
    """Another schema version is named as such, before anything else of the manifest is judged."""
    reseal(copy, lambda manifest: manifest.update(schema_version=version, variants="from another time"))
    assert f"schema version {version!r}" in refusal(copy)


def _set_file_name(name: str) -> Edit:
    return lambda manifest: manifest["tokenizer"].update(name=name)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_set_file_name("../tokenizer.json"), "tokenizer.name"),
        (_set_file_name("/etc/passwd"), "tokenizer.name"),
        (_set_file_name("a/b"), "tokenizer.name"),
        (_set_file_name(".hidden"), "tokenizer.name"),
        (_set_file_name("fp32-packed.onnx"), "two files have the same name"),
        (_set_file_name("manifest.json"), "the manifest's own name"),
        (lambda manifest: manifest.update(extra=1), "extra"),
        (lambda manifest: manifest.pop("labels"), "labels"),
        (lambda manifest: manifest.update(labels=["one"]), "labels"),
        (lambda manifest: manifest.update(max_length=10**9), "max_length"),
        (lambda manifest: manifest["tokenizer"].update(bytes=5), "5 were sealed"),
        (lambda manifest: manifest.update(labels=["one", "one"]), "two labels have the same name"),
        (lambda manifest: manifest.update(variants=[]), "variants"),
        (lambda manifest: manifest["variants"][0]["quality"].update(accuracy=1.5), "accuracy"),
        (lambda manifest: manifest["variants"][0]["quality"].update(accuracy=float("nan")), "accuracy"),
    ],
)
def test_refuses_wrong_manifest(copy: Path, edit: Edit, reason: str) -> None:
    """A resealed manifest is still held to its schema; no name in it leads out of the bundle."""
    reseal(copy, edit)
    assert reason in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"1", b"{", b"[" * 100_000])
def test_refuses_what_is_no_manifest(copy: Path, content: bytes) -> None:
    """Anything but a JSON object with a schema version is refused, deep nesting too."""
    (copy / "manifest.json").write_bytes(content)
    assert "manifest.json" in refusal(copy)


def test_reads_only_sealed_bytes(copy: Path) -> None:
    """A file changed after the bundle was opened is refused when it is read."""
    opened = open_bundle(copy)
    assert hashlib.sha256(opened.read(opened.manifest.tokenizer)).hexdigest() == opened.manifest.tokenizer.sha256
    (copy / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match="not what was sealed"):
        opened.read(opened.manifest.tokenizer)


def test_labels_are_shown_as_they_are(copy: Path) -> None:
    """Labels with the marks of a terminal's colours and of rich are printed as text."""
    reseal(copy, lambda manifest: manifest.update(labels=["[/x]", "[red]b", "c\n\x1b[31m"]))
    done = subprocess.run(bertwire("inspect", copy), capture_output=True, text=True, check=True)
    assert "3: [/x], [red]b, c\\n\\x1b[31m" in done.stdout


def test_seal_is_checked_by_sha256sum(bundle: Path) -> None:
    """The seal is a line that coreutils understand."""
    subprocess.run(["sha256sum", "--check", "--strict", "manifest.sha256"], cwd=bundle, check=True)  # noqa: S607
