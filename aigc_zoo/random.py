"""Randomness is a function of (seed, step, batch number, stream): no state of a generator is ever stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive(*key: int | str) -> int:
    """A seed in [0, 2^63) from numbers and names; a digest, since Python's `hash` is salted per process."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "big") >> 1


def generator(*key: int | str) -> torch.Generator:
    """A generator on the CPU, seeded by `derive(*key)`: its numbers do not depend on the device that trains."""
    return torch.Generator().manual_seed(derive(*key))


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Torch's global generators are after the block as they were before it, whatever was seeded inside."""
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    before = torch.default_generator.get_state()
    try:
        yield
    finally:
        torch.default_generator.set_state(before)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device, device)


@contextmanager
def seeded(device: torch.device, *key: int | str) -> Iterator[None]:
    """Torch's global generators, seeded by `derive(*key)` inside the block and as they were after it."""
    with untouched(device):
        reseed(*key)
        yield


def reseed(*key: int | str) -> None:
    """Seeds torch's global generators by `derive(*key)`.

    That of the CPU by itself: where CUDA is compiled in but not in use, `torch.manual_seed` formats a stack trace for
    later, which took a third of a small step (torch 2.14).
    """
    seed = derive(*key)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def permutation(size: int, *key: int | str) -> Tensor:
    """A random order of `size` rows, int64 on the CPU."""
    return torch.randperm(size, generator=generator(*key))
