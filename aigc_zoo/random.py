"""Random streams that are functions of (seed, step, batch number, name), so that no generator state is ever stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

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
