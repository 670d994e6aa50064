"""Full disks."""

import errno
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from bertwire_core.disk import is_full
from bertwire_core.errors import UserError
from bertwire_trainer.disk import one_line_faults, require_space

Usage = namedtuple("Usage", "total used free")


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with less room than a run may write is refused before training."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))
    require_space(tmp_path, 10**6, 10**6, 0)
    with pytest.raises(UserError, match=r"has 95 MiB free, training writes up to 127 MiB"):
        require_space(tmp_path / "deep" / "out.partial", 10**7, 10**3, 0)


def test_what_an_interrupted_run_holds_counts_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on, or starts over, does not need the room of its own files twice."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))
    (tmp_path / "checkpoint").write_bytes(bytes(5 * 10**7))
    require_space(tmp_path, 10**7, 10**3, 0)


def test_full_disk_while_writing_text(tmp_path: Path) -> None:
    """The system's error on a full device becomes one line."""
    with pytest.raises(UserError, match=r"no space left.*--resume"), one_line_faults(tmp_path):
        Path("/dev/full").write_text("x")


def test_full_disk_while_pytorch_writes() -> None:
    """PyTorch hides the system's error; it is recognized all the same."""
    with pytest.raises(RuntimeError) as caught:
        torch.save(torch.zeros(10**6), "/dev/full")
    assert is_full(caught.value)


def test_other_faults_of_writing(tmp_path: Path) -> None:
    """A file that may not be written is named."""
    with pytest.raises(UserError, match="cannot write /x: Permission denied"), one_line_faults(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/x")


def test_other_errors_pass(tmp_path: Path) -> None:
    """An error that is not the disk's is left as it is."""
    with pytest.raises(ValueError, match="a bug"), one_line_faults(tmp_path):
        raise ValueError("a bug")
