"""Opens a graph in ONNX Runtime. Export measures with it what the server runs; onnxruntime only."""

import ctypes
import re
from pathlib import Path

import onnxruntime

from bertwire_core.errors import UserError, first_line
from bertwire_runtime.bundle.manifest import Provider
from bertwire_runtime.cores import run_threads

PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# With TF32 products keep 10 bits of the 23, and fp32 logits are 0.003 off PyTorch's.
_CUDA_OPTIONS = {"use_tf32": "0"}
# What onnxruntime-gpu is built for, as cuDriverGetVersion counts; R580 is the first driver that has it.
_CUDA_VERSION = 13000
_DRIVER = "it needs R580 or later, for CUDA 13"
# One addition as an ONNX model, written out since the server has no `onnx` package: y = x + x, float32 [1].
_ONE_NODE = (
    b'\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)


def open_session(graph: bytes | Path, provider: Provider, threads: int) -> onnxruntime.InferenceSession:
    """Opens a graph on one provider, and on no other in its place.

    Args:
        graph: an ONNX model, or its file.
        provider: where it runs.
        threads: threads of one run; 0 takes one for each core.

    Raises:
        UserError: ONNX Runtime cannot use the provider on this machine.
        Exception: it cannot run the graph there; its exceptions share no public base.
    """
    if provider == "cuda":
        onnxruntime.preload_dlls()  # finds the CUDA libraries that come as wheels
        onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = run_threads(threads)
    options.log_severity_level = 4  # what it would log it also raises
    # It plans memory anew for every shape of batch, and keeps each plan: docs/decisions/015-memory.md.
    options.enable_mem_pattern = False
    # The one format whose weights are known to lie in the very bytes that were verified.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    chosen = (PROVIDERS[provider], _CUDA_OPTIONS if provider == "cuda" else {})
    session = onnxruntime.InferenceSession(graph, options, providers=[chosen], enable_fallback=0)
    # Where the provider's library does not load, the session is opened on the CPU without an error.
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise UserError(_unavailable("the libraries of CUDA 13 and cuDNN 9 did not load; '.[gpu]' brings them"))
    return session


def cuda_fault() -> str | None:
    """Why ONNX Runtime cannot use CUDA here, in one line, or None: then a graph of one node ran there.

    Its build for CUDA lists the provider on every machine, with a GPU and a driver or without.
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
