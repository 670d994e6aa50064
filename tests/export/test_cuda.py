"""What runs on a CUDA device alone; skipped where there is none."""

from pathlib import Path

import pytest

from bertwire_export.bundle import open_bundle
from bertwire_export.bundle.session import cuda_fault
from bertwire_export.config import ExportConfig
from bertwire_export.pipeline import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_fault() is not None, reason=str(cuda_fault())),
]


def test_fp16_is_proven_on_cuda(checkpoint: Path, tmp_path: Path) -> None:
    """A packed fp16 variant runs on CUDA and keeps its limits there."""
    run(ExportConfig(checkpoint=checkpoint, output=tmp_path / "out", fp16_min_agreement=0.9, fp16_max_drop=0.1))
    variants = open_bundle(tmp_path / "out").manifest.variants
    fp16 = next(each for each in variants if each.precision == "fp16")
    assert (fp16.providers, fp16.layout) == (("cuda",), "packed")
    assert fp16.proofs[0].faults == ()
