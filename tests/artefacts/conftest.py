"""A disk that is full, without being root."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest


@contextmanager
def limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes meanwhile: writes fall short, then fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def limited() -> Callable[[int], AbstractContextManager[None]]:
    return limit
