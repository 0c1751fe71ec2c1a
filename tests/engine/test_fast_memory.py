"""Memory that stays allocated between steps."""

from __future__ import annotations

import ctypes
import os
import resource

import pytest
import torch
from forked import ended, fork
from sketch.two_player import CPU

from aigc_zoo.engine import fast


def faults(times: int = 20) -> int:
    """Count page faults while a large block is allocated, written and freed repeatedly."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.empty(48 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_freed_memory_is_kept_for_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)

    def work() -> None:
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 65536)  # the defaults of a new process
        libc.mallopt(-1, 128 << 10)
        assert faults(20) >= 20
        fast.keep_memory(CPU)
        faults(20)  # until every large enough gap has been used once
        assert faults(20) < 20

    assert ended(fork(work)) == 0


def test_malloc_settings_of_the_user_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the C library was loaded")

    monkeypatch.setattr("ctypes.CDLL", refused)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    fast.keep_memory(CPU)
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    fast.keep_memory(torch.device("cuda"))
