"""The package can be imported where the system lacks what only Unix has."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aigc_zoo.artefacts import atomic, lock
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import LockedError


def test_every_module_can_be_imported_without_fcntl() -> None:
    code = """
        import importlib, os, pkgutil, sys
        for name in ("fcntl", "resource", "pwd", "grp", "termios"):
            sys.modules[name] = None
        del os.O_DIRECTORY, os.posix_fallocate, os.pread, os.pwrite
        import aigc_zoo
        names = [found.name for found in pkgutil.walk_packages(aigc_zoo.__path__, "aigc_zoo.")]
        for name in names:
            if not name.endswith("__main__"):
                importlib.import_module(name)
        print(len(names))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80


def test_directories_that_cannot_be_opened_are_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.O_DIRECTORY")
    atomic.write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_lock_that_cannot_be_read_names_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TRIES", 2)
    monkeypatch.setattr(lock, "_holder", lambda descriptor: 0)
    with RunDirectory(tmp_path / "x"), pytest.raises(LockedError, match="is being written by another process: wait"):
        RunDirectory(tmp_path / "x").acquire()
