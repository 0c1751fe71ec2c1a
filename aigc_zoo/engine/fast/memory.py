"""Convolution kernels, the allocator of the C library, and out-of-memory errors."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt, from malloc.h


def choose_kernels(device: torch.device) -> None:
    """On CUDA, let cuDNN benchmark its kernels once per input shape. Kernels differ in rounding."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def keep_memory(device: torch.device) -> None:
    """On a CPU, keep the memory that a training step frees for the next step, which allocates as much.

    By default glibc returns it to the system and gets zeroed pages anew: a thousand page faults per step. Nothing is
    changed with other C libraries, or if the user has set a MALLOC_ environment variable.
    """
    _allocate(device, trim=2**31 - 1, mmaps=0)  # blocks allocated by mmap are returned as soon as they are freed


def return_memory(device: torch.device) -> None:
    """Undo `keep_memory`: memory that is kept but that no later tensor fits into took 10 % to 92 % more (0072)."""
    _allocate(device, trim=128 << 10, mmaps=65_536)  # the defaults of glibc


def _allocate(device: torch.device, trim: int, mmaps: int) -> None:
    if device.type != "cpu" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, trim)
        mallopt(_MMAP_MAX, mmaps)


def out_of_memory(error: BaseException) -> bool:
    """Return True if an allocation failed on a device or in the CPU allocator."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in str(error) for sign in ("DefaultCPUAllocator", "MPS backend out of memory")
    )
