"""Random streams that are functions of (seed, step, batch number, name), so that no generator state is ever stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aigc_zoo import devices


def derive(*key: int | str) -> int:
    """Derive a seed in [0, 2^63) from numbers and names, by a digest, as Python's `hash` is salted per process."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A generator on the CPU, seeded by `derive(*key)`; its numbers do not depend on the training device."""
    return torch.Generator().manual_seed(derive(*key))


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Restore the state of torch's global generators (CPU and `device`) at the end of the block."""
    on_device = devices.random_state(device)
    before = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        if on_device is not None:
            devices.set_random_state(device, on_device)


@contextmanager
def seeded(device: torch.device, *key: int | str) -> Iterator[None]:
    """Seed torch's global generators by `derive(*key)` for the block, and restore their state at its end."""
    with untouched(device):
        reseed(*key)
        yield


def reseed(*key: int | str) -> None:
    """Seed torch's global generators by `derive(*key)`.

    The CPU generator is seeded directly: if torch has CUDA but does not use it, `torch.manual_seed` formats a stack
    trace for later, which took a third of a small training step (torch 2.14).
    """
    seed = derive(*key)
    torch.default_generator.manual_seed(seed)
    devices.seed_all(seed)


def permutation(size: int, *key: int | str) -> Tensor:
    """A random permutation of 0 to `size` - 1, int64 (size,) on the CPU."""
    return torch.randperm(size, generator=generator(*key))


def row_uniforms(rows: Tensor, count: int, *key: int | str) -> Tensor:
    """Uniform numbers in [0, 1) for rows of a dataset, float32 (N, count), each row's a function of (key, row) alone.

    rows  row numbers, int64 (N,)

    The numbers are a hash of key, row and place (the finalizer of SplitMix64; Steele, Lea and Flood, 2014, figure 15),
    so that the same row has the same numbers in every batch.
    """
    places = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    start = _mixed(rows.cpu().numpy().astype(np.uint64) ^ np.uint64(derive(*key)))
    return torch.from_numpy((_mixed(start[:, None] + places) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24))


def _mixed(x: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
