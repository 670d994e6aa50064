"""A bundle opens only as it was sealed."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertwire_core.tasks import TASKS, Task
from bertwire_runtime.bundle import BundleError, open_bundle
from support import Edit, bertwire, rehash, reseal, reseal_bytes

FILES = ["manifest.json", "manifest.sha256", "tokenizer.json", "probe.json", "fp32-packed.onnx", "int8-packed.onnx"]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def refusal(folder: Path) -> str:
    """Opens a bundle that must be refused and gives the reason, which is one line that fits a screen."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100
    return str(caught.value)


def test_opens_as_sealed(bundle: Path) -> None:
    """An untouched bundle opens, with its variants fastest first."""
    manifest = open_bundle(bundle).manifest
    speeds = [variant.proofs[0].speed.cost for variant in manifest.variants]
    assert sorted(each.name for each in manifest.variants) == ["fp32-packed", "int8-packed"]
    assert speeds == sorted(speeds)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_refuses_flipped_bit(copy: Path, name: str, place: float) -> None:
    """One bit changed in any file, at its start, middle or end, is found."""
    content = bytearray((copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)
    assert name in refusal(copy)


@pytest.mark.parametrize("name", FILES)
def test_refuses_missing_file(copy: Path, name: str) -> None:
    """A file that is not there is named."""
    (copy / name).unlink()
    assert f"{name} is missing" in refusal(copy)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_refuses_truncated_file(copy: Path, name: str, share: float) -> None:
    """A file cut short, or to nothing, is found."""
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(share * len(content))])
    assert name in refusal(copy)


@pytest.mark.parametrize("name", FILES)
def test_refuses_extended_file(copy: Path, name: str) -> None:
    """One byte more at the end of a file is found, be it only a line break."""
    (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    assert name in refusal(copy)


def _swap(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder.parent / "aside")
    (folder / other).rename(folder / one)
    (folder.parent / "aside").rename(folder / other)


def test_refuses_swapped_variants(copy: Path) -> None:
    """Two graphs under each other's name are found, though each is intact."""
    _swap(copy, "fp32-packed.onnx", "int8-packed.onnx")
    assert "were sealed; copy the bundle again" in refusal(copy)


def test_refuses_swapped_files_of_one_size(copy: Path) -> None:
    """Files under each other's name are found by their hash where their size does not tell."""
    (copy / "fp32-packed.onnx").write_bytes(b"one")
    (copy / "int8-packed.onnx").write_bytes(b"two")
    rehash(copy)
    open_bundle(copy)
    _swap(copy, "fp32-packed.onnx", "int8-packed.onnx")
    assert "is not what was sealed" in refusal(copy)


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "MANIFEST.JSON", "int8.onnx.data", "a\nb\x1b[31m", "é"])
@pytest.mark.parametrize("folder", [False, True])
def test_refuses_what_was_added(copy: Path, name: str, folder: bool) -> None:
    """What the manifest does not list is no part of a bundle, hidden or not, file or folder."""
    (copy / name).mkdir() if folder else (copy / name).write_bytes(b"x")
    assert f"{name!r} does not belong" in refusal(copy)


def _link(file: Path) -> None:
    elsewhere = shutil.copy(file, file.parent.parent / "elsewhere")
    file.unlink()
    file.symlink_to(elsewhere)


def _socket(file: Path) -> None:
    file.unlink()
    # By its short relative name: the path of a socket may have 107 bytes.
    with socket.socket(socket.AF_UNIX) as made, pytest.MonkeyPatch.context() as patch:
        patch.chdir(file.parent)
        made.bind(file.name)


def _link_to_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("name", [*FILES, "manifest.sig"])
@pytest.mark.parametrize("put", [_link, _socket, _link_to_device, _fifo, _folder])
def test_refuses_what_is_no_plain_file(copy: Path, name: str, put: Callable[[Path], None]) -> None:
    """A link could change what it points at after it was verified; a pipe or a device could never end."""
    (copy / name).touch()
    put(copy / name)
    assert f"{name} is no plain file" in refusal(copy)


def test_refuses_folder_that_is_none(tmp_path: Path) -> None:
    """A missing folder and an empty one are told apart."""
    assert "no such bundle" in refusal(tmp_path / "missing")
    assert "manifest.json is missing" in refusal(tmp_path)


@pytest.mark.parametrize("version", [0, 1, 5, "2", 2.5, True, None])
def test_refuses_unknown_schema(copy: Path, version: object) -> None:
    """Another schema version is named as such, before anything else of the manifest is judged."""
    reseal(copy, lambda manifest: manifest.update(schema_version=version, variants="from another time"))
    assert f"schema version {version!r}" in refusal(copy)


def _proof(manifest: dict[str, Any]) -> dict[str, Any]:
    proof: dict[str, Any] = manifest["variants"][0]["proofs"][0]
    return proof


def _dev(manifest: dict[str, Any]) -> dict[str, Any]:
    dev: dict[str, Any] = _proof(manifest)["dev"]
    return dev


def _set_file_name(name: str) -> Edit:
    return lambda manifest: manifest["tokenizer"].update(name=name)


def _calibrate(temperature: object = 1, thresholds: object = None, task: Task = "multi_label") -> Edit:
    """Edits the calibration, of a task that it fits but for that."""
    own = [0.5] * 3 if task == "multi_label" else []

    def edit(manifest: dict[str, Any]) -> None:
        manifest["calibration"].update(temperature=temperature, thresholds=thresholds or own)
        manifest.update(task=task, labels=manifest["labels"][: 1 if task == "regression" else 3])

    return edit


def _abstain(threshold: float = 1, **other: object) -> Edit:
    return lambda manifest: manifest.update(abstention={"threshold": threshold, "dev": 0, "test": None}, **other)


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
        (_set_file_name("manifest.sha256"), "the manifest's own name"),
        (_set_file_name("manifest.sig"), "the manifest's own name"),
        (_set_file_name("tokenizer.json\n"), "tokenizer.name"),
        (_set_file_name("tokenizer.json\x00"), "tokenizer.name"),
        (_set_file_name("Tokenizer.json"), "Tokenizer.json is missing"),
        (_set_file_name(""), "tokenizer.name"),
        (_set_file_name(".."), "tokenizer.name"),
        (lambda manifest: manifest["tokenizer"].update(bytes=5), "5 were sealed"),
        (lambda manifest: manifest["tokenizer"].update(bytes=0), "tokenizer.bytes"),
        (lambda manifest: manifest["tokenizer"].update(bytes=-1), "tokenizer.bytes"),
        (lambda manifest: manifest["tokenizer"].update(bytes=1.5), "tokenizer.bytes"),
        (lambda manifest: manifest["tokenizer"].update(bytes=10**30), "were sealed"),
        (lambda manifest: manifest["tokenizer"].update(sha256=manifest["tokenizer"]["sha256"].upper()), "sha256"),
        (lambda manifest: manifest["tokenizer"].update(sha256=manifest["tokenizer"]["sha256"] + "\n"), "sha256"),
        (lambda manifest: manifest["tokenizer"].update(sha256=manifest["tokenizer"]["sha256"][:-1]), "sha256"),
        (lambda manifest: manifest["tokenizer"].update(sha256="0" * 64), "its SHA-256 differs"),
        (lambda manifest: manifest["variants"].append(manifest["variants"][0]), "two variants have the same name"),
        (lambda manifest: manifest["variants"].append(manifest["variants"][0] | {"name": "x"}), "two files have the"),
        (lambda manifest: manifest["variants"].pop(), "does not belong to the bundle"),
        (lambda manifest: manifest.update({"a\nb\x1b[31m" * 1000: 1}), "is wrong at a\\nb\\x1b[31m"),
        (lambda manifest: manifest.update(name="\ud800"), "Invalid JSON"),
        (lambda manifest: manifest.update(labels=["one", "one"]), "two labels have the same name"),
        (lambda manifest: manifest.update(variants=[]), "variants"),
        (lambda manifest: _dev(manifest).update(label_agreement=1.5), "label_agreement"),
        (lambda manifest: _dev(manifest).update(max_logit_difference=-1), "max_logit_difference"),
        (lambda manifest: _dev(manifest)["scores"].update(accuracy=float("nan")), "holds NaN"),
        (lambda manifest: _proof(manifest)["speed"].update(cpu_ms_per_text=float("inf")), "holds Infinity"),
        (lambda manifest: _proof(manifest)["speed"].update(cpu_ms_per_text=float("-inf")), "holds -Infinity"),
        (lambda manifest: _proof(manifest).update(faults=["a"]), "a variant with faults is not marked as forced"),
        (lambda manifest: _proof(manifest).update(provider="cuda"), "providers and its proofs differ"),
        (lambda manifest: manifest["variants"][0].update(providers=["cpu", "cuda"]), "providers and its proofs differ"),
        (lambda manifest: manifest["variants"][0].update(proofs=[]), "proofs"),
        (lambda manifest: manifest["variants"][0].update(groups=0), "groups belong to the packed layout"),
        (lambda manifest: manifest["variants"][0].update(layout="padded"), "groups belong to the packed layout"),
        (lambda manifest: manifest["variants"][0].update(groups=17), "groups"),
        (lambda manifest: manifest["variants"][0].update(precision="fp64"), "precision"),
        (lambda manifest: manifest.update(task="regression"), "3 labels do not fit the task regression"),
        (lambda manifest: manifest.update(task="multi_label"), "0 thresholds do not fit the task multi_label"),
        (lambda manifest: manifest["calibration"].update(thresholds=[0.5]), "1 thresholds do not fit"),
        *((_calibrate(temperature=each), "calibration.temperature") for each in (0, -1, 0.249, 10.01, "hot", None)),
        *((_calibrate(thresholds=[0.5, each, 0.5]), "calibration.thresholds.1") for each in (-0.1, 1.01, "low", None)),
        *((_calibrate(temperature=2, task=each), f"of 2 does not fit the task {each}") for each in TASKS[1:]),
        (lambda manifest: manifest.update(abstention={"threshold": 1, "dev": 2, "test": None}), "abstention.dev"),
        (_abstain(schema_version=3), "a model of single_label in schema 3 does not abstain"),
        (_abstain(task="token_classification"), "a model of token_classification in schema 4 does not abstain"),
        (lambda manifest: manifest.update(schema_version=2), "those before it have none"),
    ],
)
def test_refuses_wrong_manifest(copy: Path, edit: Edit, reason: str) -> None:
    """A resealed manifest is still held to its schema; no name in it leads out of the bundle."""
    reseal(copy, edit)
    assert reason in refusal(copy)


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (_calibrate(temperature=4711), "calibration.temperature"),
        (_calibrate(thresholds=[4711, 0.5, 0.5]), "calibration.thresholds.0"),
        (_abstain(4711), "abstention.threshold"),
        (lambda manifest: _proof(manifest).update(batch_variance=4711), "batch_variance"),
        (lambda manifest: _proof(manifest)["limits"].update(max_batch_variance=4711), "max_batch_variance"),
        (lambda manifest: _dev(manifest)["scores"].update(accuracy=4711), "accuracy"),
    ],
)
@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"NaN", b"Infinity"])
def test_refuses_numbers_that_are_not_finite(copy: Path, edit: Edit, where: str, number: bytes) -> None:
    """Neither by their names nor by too large an exponent."""
    reseal(copy, edit)
    reseal_bytes(copy, (copy / "manifest.json").read_bytes().replace(b"4711", number))
    assert (where if b"e" in number else "which is no number") in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"1", b"{", b"[" * 100_000, b'{"schema_version": "' * 2])
def test_refuses_what_is_no_manifest(copy: Path, content: bytes) -> None:
    """Anything but a JSON object with a schema version is refused, deep nesting too, sealed or not."""
    (copy / "manifest.json").write_bytes(content)
    assert "manifest.json" in refusal(copy)
    reseal_bytes(copy, content)
    assert "manifest.json" in refusal(copy)


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: b"\xef\xbb\xbf" + content, "is not JSON"),
        (lambda content: content.decode().encode("utf-16"), "is not JSON"),
        (lambda content: content.decode().encode("utf-32"), "is not JSON"),
        (lambda content: content + b"{}", "is not JSON"),
        (lambda content: content + b"\x00", "is not JSON"),
        (lambda content: content + b" " * (17 << 20), "larger than any manifest"),
        (_replace(b'"tiny"', b'"t\xefny"'), "is not JSON"),
        (_replace(b"{", b'{"schema_version": 1,'), "gives schema_version twice"),
        (_replace(b'"bytes"', b'"bytes": 7, "bytes"'), "gives bytes twice"),
        (_replace(b'"bytes"', b'"b\\u0079tes": 7, "bytes"'), "gives bytes twice"),
        (_replace(b'"accuracy": ', b'"accuracy": 1e999, "was": '), "accuracy"),
        (_replace(b'"bytes": ', b'"bytes": ' + b"9" * 5000), "is not JSON"),
        (_replace(b"{", b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b","), "is not JSON"),
        (_replace(b"{", b'{"deep": ' + b"[" * 150 + b"]" * 150 + b","), "manifest.json is wrong"),
    ],
)
def test_refuses_manifest_that_reads_in_two_ways(copy: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    """A sealed manifest is strict UTF-8 JSON of bounded size, with each key once and numbers that are numbers."""
    content = (copy / "manifest.json").read_bytes()
    assert change(content) != content
    reseal_bytes(copy, change(content))
    assert reason in refusal(copy)


@pytest.mark.parametrize("change", [str.upper, str.strip, lambda line: line.replace("  ", " *"), lambda line: line * 2])
def test_refuses_seal_written_otherwise(copy: Path, change: Callable[[str], str]) -> None:
    """The seal has one spelling: lower case, two spaces, one line."""
    (copy / "manifest.sha256").write_text(change((copy / "manifest.sha256").read_text()))
    assert "does not match its seal" in refusal(copy)


@pytest.fixture
def other(bundle: Path, tmp_path: Path) -> Path:
    """Another bundle, whole and sealed, with another tokenizer."""
    folder = Path(shutil.copytree(bundle, tmp_path / "other"))
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes().replace(b"w59", b"v59"))
    rehash(folder)
    open_bundle(folder)
    return folder


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["manifest.json"], "does not match its seal"),
        (["manifest.sha256"], "does not match its seal"),
        (["manifest.json", "manifest.sha256"], "tokenizer.json is not what was sealed"),
        (["tokenizer.json"], "tokenizer.json is not what was sealed"),
    ],
)
def test_refuses_parts_of_another_bundle(copy: Path, other: Path, names: list[str], reason: str) -> None:
    """Files of two bundles, each intact, do not make a third."""
    for name in names:
        shutil.copy(other / name, copy / name)
    assert reason in refusal(copy)


def test_reads_only_sealed_bytes(copy: Path) -> None:
    """A file changed after the bundle was opened, or no file any more, is refused when it is read."""
    opened = open_bundle(copy)
    entry, content = opened.manifest.tokenizer, (copy / "tokenizer.json").read_bytes()
    assert opened.read(entry) == content
    (copy / "tokenizer.json").write_bytes(content[::-1])
    with pytest.raises(BundleError, match="not what was sealed"):
        opened.read(entry)
    (copy / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=f"has 2 bytes, {len(content)} were sealed"):
        opened.read(entry)
    for put in (_link, _fifo, _folder):
        (copy / "tokenizer.json").unlink()
        (copy / "tokenizer.json").touch()
        put(copy / "tokenizer.json")
        with pytest.raises(BundleError, match="no plain file"):
            opened.read(entry)


def test_reads_only_sealed_bytes_through_a_link(copy: Path, other: Path) -> None:
    """A link to a bundle's folder may be opened; turned to another bundle, it gives none of that one's files."""
    link = copy.parent / "current"
    link.symlink_to(copy)
    opened = open_bundle(link)
    link.unlink()
    link.symlink_to(other)
    assert opened.read(opened.manifest.variants[0].file)
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
