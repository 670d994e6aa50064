"""What runs on a CUDA device alone; skipped where there is none."""

from pathlib import Path

import pytest

from bertwire_export.config import ExportConfig, Precision
from bertwire_export.pipeline import run
from bertwire_runtime.bundle import open_bundle
from bertwire_runtime.session import cuda_fault

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(cuda_fault() is not None, reason=str(cuda_fault())),
]


@pytest.mark.parametrize(("precision", "name"), [("fp16", "fp16-packed"), ("fp32", "fp32-packed-cuda")])
def test_packed_graphs_are_proven_on_cuda(checkpoint: Path, tmp_path: Path, precision: Precision, name: str) -> None:
    """A packed variant of either precision runs on CUDA and keeps its limits there."""
    lenient = {"fp16_min_agreement": 0.9, "fp16_max_drop": 0.1}
    run(ExportConfig(checkpoint=checkpoint, output=tmp_path / "out", variants=[precision], **lenient))
    variants = open_bundle(tmp_path / "out").manifest.variants
    on_cuda = next(each for each in variants if "cuda" in each.providers)
    assert (on_cuda.name, on_cuda.providers, on_cuda.groups) == (name, ("cuda",), 0)
    assert on_cuda.proofs[0].faults == ()
