"""A fixture that simulates a full disk without root permissions."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest


@contextmanager
def limit(size: int) -> Iterator[None]:
    """Limits files of this process to `size` bytes inside the block: writes are short, then fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def limited() -> Callable[[int], AbstractContextManager[None]]:
    return limit
