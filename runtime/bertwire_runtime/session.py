"""ONNX Runtime sessions, shared by export and server; needs only onnxruntime."""

import ctypes
import re
from pathlib import Path

import onnxruntime

from bertwire_core.errors import UserError, first_line
from bertwire_runtime.bundle.proof import Provider
from bertwire_runtime.cores import run_threads

PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TF32 keeps 10 of 23 mantissa bits, and moves fp32 logits by 0.003 from PyTorch's.
_CUDA_OPTIONS = {"use_tf32": "0"}
# CUDA version of onnxruntime-gpu, in cuDriverGetVersion's encoding; R580 is the first driver with it.
_CUDA_VERSION = 13000
_DRIVER = "it needs R580 or later, for CUDA 13"
# An ONNX model of y = x + x, float32 [1], serialised because the server has no `onnx` package.
_ONE_NODE = (
    b'\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)


def open_session(graph: bytes | Path, provider: Provider, threads: int) -> onnxruntime.InferenceSession:
    """Open a graph on one provider, without a fallback.

    Args:
        graph: an ONNX model, or its file.
        provider: the provider.
        threads: threads per run; 0: one per usable core.

    Raises:
        UserError: the provider is unavailable on this machine.
        Exception: ONNX Runtime cannot load the graph; its exceptions share no public base.
    """
    if provider == "cuda":
        onnxruntime.preload_dlls()  # loads the CUDA libraries of installed wheels
        onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = run_threads(threads)
    options.log_severity_level = 4  # errors are raised as well as logged
    # Memory patterns are planned and kept per batch shape: docs/decisions/015-memory.md.
    options.enable_mem_pattern = False
    # The ORT format could hold other weights than the bytes that were verified.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    chosen = (PROVIDERS[provider], _CUDA_OPTIONS if provider == "cuda" else {})
    session = onnxruntime.InferenceSession(graph, options, providers=[chosen], enable_fallback=0)
    # Where the provider's library does not load, ONNX Runtime falls back to the CPU without an error.
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise UserError(_unavailable("the libraries of CUDA 13 and cuDNN 9 did not load; '.[gpu]' brings them"))
    return session


def cuda_fault() -> str | None:
    """Return why ONNX Runtime cannot use CUDA, in one line; None where a one-node graph ran on it.

    Listing providers is not enough: the CUDA build lists CUDA even without a GPU or driver.
    """
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return _unavailable("its build for CUDA is not installed; '.[gpu]' brings it in place of '.[cpu]'")
    if fault := _driver_fault():
        return _unavailable(fault)
    try:
        open_session(_ONE_NODE, "cuda", threads=1).run(["y"], {"x": [1.0]})
    except UserError as error:
        return str(error)
    except Exception as error:  # onnxruntime's exceptions share no public base
        cause = re.search(r"CUDA failure \d+: [^;]+", str(error))
        return _unavailable(cause[0].strip() if cause else first_line(error))
    return None


def _driver_fault() -> str | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return f"no NVIDIA driver is installed (libcuda.so.1); {_DRIVER}"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if version.value >= _CUDA_VERSION:
        return None
    return f"the NVIDIA driver is for CUDA {version.value // 1000}.{version.value % 1000 // 10}; {_DRIVER}"


def _unavailable(reason: str) -> str:
    return f"ONNX Runtime cannot use cuda here: {reason}"
