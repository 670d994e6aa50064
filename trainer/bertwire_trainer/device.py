"""The arithmetic that a device trains in."""

from pathlib import Path
from typing import Literal

import torch

from bertwire_core.errors import UserError
from bertwire_trainer import config

Precision = Literal["fp32", "bf16", "fp16"]


def choose_precision(asked: config.Precision, *, cuda: bool, fast_bf16: bool) -> Precision:
    """Return the arithmetic to use; raise `UserError` for one that the device lacks.

    Args:
        asked: the setting.
        cuda: whether training runs on a CUDA device, else on the CPU.
        fast_bf16: whether that device multiplies bf16 matrices in hardware.
    """
    if asked == "auto":
        return "bf16" if fast_bf16 else "fp32"
    if asked == "fp16" and not cuda:
        raise UserError("--precision fp16 needs a CUDA device; on a CPU choose fp32 or bf16")
    if asked == "bf16" and cuda and not fast_bf16:
        raise UserError("--precision bf16 needs a CUDA device of compute capability 8.0 or later; choose fp16 or fp32")
    return asked


def has_fast_bf16() -> bool:
    """Return whether the device to train on multiplies bf16 matrices in hardware."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without such units torch's bf16 products can be slower than those in fp32.
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text(encoding="utf-8", errors="replace").split() if cpu.is_file() else []
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(flags)
