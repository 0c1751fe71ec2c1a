"""Changes of files that keep their size and modification time are seen by the cache."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from opened import open_path, verify
from PIL import Image


def rewritten(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def replaced(path: Path, data: bytes) -> None:
    path.with_suffix(".new").write_bytes(data)
    path.with_suffix(".new").replace(path)


def relinked(path: Path, data: bytes) -> None:
    path.unlink()
    target = path.parents[1] / f"target{path.suffix}"
    target.write_bytes(data)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("change", "as_zip"),
    [(rewritten, False), (replaced, False), (relinked, False), (rewritten, True), (replaced, True)],
)
def test_a_change_of_equal_size_and_time_is_decoded_again(tmp_path: Path, change: Any, as_zip: bool) -> None:
    contents = []
    for value in (10, 200):
        file = io.BytesIO()
        Image.new("L", (8, 8), value).save(file, "BMP")
        contents.append(file.getvalue())
        if as_zip:
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(zipfile.ZipInfo("a.bmp"), contents[-1])
            contents[-1] = file.getvalue()
    path = tmp_path / "data" / ("a.zip" if as_zip else "a.bmp")
    path.parent.mkdir()
    path.write_bytes(contents[0])
    source = path if as_zip else path.parent
    assert int(open_path(source)["train"].fields["real"].max()) == 10
    about = path.stat()
    change(path, contents[1])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)
    assert verify(source)
    assert int(open_path(source)["train"].fields["real"].max()) == 200
    assert not verify(source)
