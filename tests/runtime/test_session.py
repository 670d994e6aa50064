"""What is said where CUDA cannot be used; the machine is emulated."""

import ctypes
from typing import Any

import onnxruntime
import pytest

from bertwire_export.pipeline import available_providers
from bertwire_runtime.session import cuda_fault


class Driver:
    """NVIDIA's library as far as it is asked: the CUDA version that it is for."""

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: ANN401, N802 - a pointer to a C int; NVIDIA's name
        """Version 12.4."""
        ctypes.cast(version, ctypes.POINTER(ctypes.c_int))[0] = 12040
        return 0


def no_library(name: str) -> None:
    """A machine without the library."""
    raise OSError(name)


@pytest.mark.parametrize(
    ("providers", "library", "reason"),
    [
        (["CPUExecutionProvider"], no_library, "its build for CUDA is not installed"),
        (["CUDAExecutionProvider"], no_library, "no NVIDIA driver is installed (libcuda.so.1); it needs R580"),
        (["CUDAExecutionProvider"], lambda _: Driver(), "the NVIDIA driver is for CUDA 12.4; it needs R580 or later"),
    ],
    ids=["wheel", "driver", "old driver"],
)
def test_says_what_cuda_lacks(
    providers: list[str],
    library: Any,  # noqa: ANN401 - loads a library
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The build for CUDA lists its provider on every machine: what is missing is named, and CUDA is not available."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*providers, "CPUExecutionProvider"])
    monkeypatch.setattr(ctypes, "CDLL", library)
    fault = cuda_fault()
    assert fault is not None
    assert fault.startswith(f"ONNX Runtime cannot use cuda here: {reason}")
    assert available_providers() == ["cpu"]
