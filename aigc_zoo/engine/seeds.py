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
def seeded(device: torch.device, *key: int | str) -> Iterator[None]:
    """Torch's global generators, seeded by `derive(*key)` inside the block and as they were after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
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
