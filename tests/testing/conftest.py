"""Fixtures for tests of conformance checks."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def clean_plugins() -> Iterator[None]:
    """Removes the modules of single-file plugins after the test."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("zoo_local_"):
            del sys.modules[name]
