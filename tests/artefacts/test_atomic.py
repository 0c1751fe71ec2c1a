"""Atomic writes: complete files or none, durable, and unchanged on a full disk."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

import pytest
import torch

from aigc_zoo.artefacts import atomic, checkpoint
from aigc_zoo.errors import StorageError

WRITERS = {
    "bytes": lambda path: atomic.write_bytes(path, b"new" * 1000),
    "text": lambda path: atomic.write_text(path, "new\n"),
    "json": lambda path: atomic.write_json(path, {"new": [1, 2.5, None, "é"]}),
    "line": lambda path: atomic.append_line(path, "{}", sync=True),
    "checkpoint": lambda path: checkpoint.save(path, {"a": torch.arange(9)}, {"step": 1}),
}


@pytest.mark.promise("R5", 1, 1)
@pytest.mark.parametrize("kind", WRITERS)
def test_fsync_then_rename_then_fsync_of_the_folder(kind, tmp_path, monkeypatch, promise):  # R5
    order = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor):
        status = os.fstat(descriptor)
        order.append(("fsync folder",) if stat.S_ISDIR(status.st_mode) else ("fsync", status.st_size))
        fsync(descriptor)

    def recorded_replace(source, target):
        order.append(("replace", Path(source).parent, Path(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    path = tmp_path / "file"
    WRITERS[kind](path)
    renamed = [] if kind == "line" else [("replace", tmp_path, path)]  # a line is appended in place
    assert order == [("fsync", path.stat().st_size), *renamed, ("fsync folder",)]
    assert path.stat().st_size > 0
    order.clear()
    if kind == "line":
        WRITERS[kind](path)
        assert order == [("fsync", path.stat().st_size)]  # the name of the file is on the disk already
    promise.kept(kinds=1, in_order=1)


def test_mode_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic.write_bytes(tmp_path / "file", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_failing_block_changes_nothing(tmp_path):
    def interrupted(path):
        with atomic.replacing(path) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 65536, 99_999])
def test_a_full_disk_leaves_the_old_file(size, tmp_path, limited):  # R6
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    with limited(size), pytest.raises(StorageError, match=rf"^cannot write {re.escape(str(path))}: .*: free space"):
        atomic.write_bytes(path, b"new" * 33_334)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_fsync_and_rename(call, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(StorageError, match="No space left on device: free space there") as caught:
        atomic.write_bytes(path, b"new")
    assert caught.value.exit_code == 74
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch):
    """Some network file systems fail with EINVAL, which is ignored; other errors are raised."""
    fsync = os.fsync
    code = errno.EINVAL

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    atomic.write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    code = errno.EIO
    with pytest.raises(StorageError, match="Input/output error"):
        atomic.write_bytes(tmp_path / "file", b"newer")


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(tmp_path / "file", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_lines_are_appended_completely_or_not_at_all(tmp_path, limited):
    path = tmp_path / "log"
    atomic.append_line(path, "é" * 50)
    with limited(120), pytest.raises(StorageError, match="No space left"):
        atomic.append_line(path, "x" * 50)
    atomic.append_line(path, "after", sync=True)
    assert path.read_text() == "é" * 50 + "\nafter\n"


def test_sweep_removes_only_temporary_files(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    left = [tmp_path / ".a.png.0123abcd.tmp", inner / ".b.safetensors.ffffffff.tmp"]
    others = [tmp_path / name for name in ("a.tmp", ".a.tmp", "a.0123abcd.tmp", ".a.0123ABCD.tmp", ".0123abcd.tmp")]
    for path in left + others:
        path.write_bytes(b"")
    assert atomic.sweep(tmp_path) == left[:1]
    assert atomic.sweep(tmp_path, recursive=True) == left[1:]
    assert all(path.exists() for path in others)
    assert not any(path.exists() for path in left)
    assert atomic.sweep(tmp_path / "none") == []


def test_folders_are_created_with_their_parents(tmp_path):
    atomic.make_folder(tmp_path / "a" / "b" / "c")
    atomic.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            StorageError, match=r"cannot write .*file: a file of that name exists: write to another place"
        ):
            atomic.make_folder(path)
