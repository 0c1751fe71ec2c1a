"""The image files of a folder or an archive that are read."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import pytest
from opened import zoo_kinds

from aigc_zoo.data import layout, splits
from aigc_zoo.errors import DataError
from aigc_zoo.text import natural_key


def test_names_sort_in_natural_order() -> None:
    names = ["10.png", "9.png", "a2.png", "a10.png", "1/2.png", "1/10.png", "01.png", "1.png"]
    assert sorted(names, key=natural_key) == [
        "01.png", "1.png", "1/2.png", "1/10.png", "9.png", "10.png", "a2.png", "a10.png",
    ]  # fmt: skip


# --- folders ----------------------------------------------------------------------------------------------------------


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def test_only_image_files_of_a_folder_are_listed(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.PNG", "a/2.jpeg", "a/10.webp", "notes.txt", ".hidden.png", ".git/c.png", "__MACOSX/d.png", "e.zip"
    )
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    files, state = layout.folder(tmp_path, zoo_kinds())
    assert files.names == ["a/2.jpeg", "a/10.webp", "b.PNG"]
    with files.open("a/2.jpeg") as file:
        assert file.read() == b"a/2.jpeg"
    assert layout.folder(tmp_path, zoo_kinds())[1] == state


def test_the_state_of_a_folder_depends_on_every_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    states = [layout.folder(tmp_path, zoo_kinds())[1]]
    os.utime(tmp_path / "a.png", ns=(1, 1))
    states.append(layout.folder(tmp_path, zoo_kinds())[1])
    (tmp_path / "a.png").write_bytes(b"longer than before")
    os.utime(tmp_path / "a.png", ns=(1, 1))
    states.append(layout.folder(tmp_path, zoo_kinds())[1])
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    states.append(layout.folder(tmp_path, zoo_kinds())[1])
    touch(tmp_path, "notes.txt")
    assert layout.folder(tmp_path, zoo_kinds())[1] == states[-1]
    assert len(set(states)) == 4


def test_links_are_followed_without_loops(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.png", "data/b.png")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "c.png").symlink_to(tmp_path / "real" / "a.png")
    assert layout.folder(tmp_path / "data", zoo_kinds())[0].names == ["b.png", "c.png", "link/a.png"]
    (tmp_path / "data" / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png cannot be read"):
        layout.folder(tmp_path / "data", zoo_kinds())


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.png")
    monkeypatch.setattr(layout, "MOST_BYTES", 4)
    with pytest.raises(DataError, match=r"a\.png has more than"):
        layout.folder(tmp_path, zoo_kinds())


# --- archives ---------------------------------------------------------------------------------------------------------


def names_in(path: Path) -> list[str]:
    with layout.archive(path, zoo_kinds()) as files:
        return files.names


def test_only_image_files_of_an_archive_are_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for name in ("b.png", "a/c.jpg", "__MACOSX/a/._c.jpg", "a/.DS_Store", ".h/x.png", "read.me", "a/deep.png/"):
            zipped.writestr(name, name)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    assert names_in(tmp_path / "a.zip") == ["a/c.jpg", "b.png"]
    with layout.archive(tmp_path / "a.zip", zoo_kinds()) as files, files.open("a/c.jpg") as file:
        assert file.read() == b"a/c.jpg"


def test_hostile_names_write_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for name in ("../up.png", "/abs.png", "a/../../b.png", "n\x1bl.png", "x" * 5000 + ".png"):
            zipped.writestr(name, "text")
    before = set(tmp_path.parent.rglob("*"))
    with layout.archive(tmp_path / "a.zip", zoo_kinds()) as files:
        for name in files.names:
            with files.open(name) as file:
                assert file.read() == b"text"
        splits.arrange(tmp_path / "a.zip", files.names)
    assert set(tmp_path.parent.rglob("*")) == before


def test_archives_beyond_the_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.png", bytes(10_000))
        zipped.writestr("b.png", "b")
    assert names_in(path) == ["a.png", "b.png"]
    with monkeypatch.context() as patch:
        patch.setattr(layout, "MOST_FILES", 1)
        with pytest.raises(DataError, match=r"a\.zip has 2 entries, more than 1"):
            names_in(path)
    monkeypatch.setattr(layout, "MOST_BYTES", 9_999)
    with pytest.raises(DataError, match=r"a\.zip: a\.png has more than"):
        names_in(path)


def test_two_entries_with_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("a\x07.png", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            zipped.writestr("a\x07.png", "2")
    with pytest.raises(DataError, match=r"two entries named a\?\.png"):
        names_in(tmp_path / "a.zip")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a.png", "1")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png is encrypted"):
        names_in(path)


def test_files_that_are_not_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match=r"a\.zip is not a complete zip archive"):
        names_in(tmp_path / "a.zip")


def test_archives_of_windows_are_read_like_others(tmp_path: Path) -> None:
    names = [
        "set\\b\\1.png",
        "set\\b\\10.png",
        "set\\b\\9.png",
        "set\\a b\\1.png",
        "__MACOSX\\b\\2.png",
        "set\\f.png\\",
    ]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        for name in names:
            member = zipfile.ZipInfo("x")
            member.filename = name
            zipped.writestr(member, name)
    assert names_in(tmp_path / "a.zip") == [names[3], names[0], names[2], names[1]]
    with layout.archive(tmp_path / "a.zip", zoo_kinds()) as files, files.open(names[1]) as file:
        assert file.read() == names[1].encode()
