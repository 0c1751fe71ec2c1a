"""Names of files that are called after others."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_zoo.data.output_names import output_paths

OUT = Path("out")


def named(*names: str) -> list[str]:
    return [str(path.relative_to(OUT)) for path in output_paths(OUT, names, ".png")]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a.jpg", "b.png"), ["a.png", "b.png"]),
        (("a.jpg", "a.png"), ["a.jpg.png", "a.png.png"]),
        (("a.jpg", "A.JPG"), ["a.jpg.png", "A.JPG-1.png"]),
        (("x/a.jpg", "y/a.jpg", "a.jpg"), ["x/a.png", "y/a.png", "a.png"]),
        (("x\\a.jpg", "x/b.jpg"), ["x/a.png", "x/b.png"]),
        (("a.png/1.jpg", "a.jpg"), ["a.png/1.png", "a-1.png"]),
        (("", "", "000001.jpg"), ["000000.png", "000001.png", "000001.jpg.png"]),
        (("noend", ".jpg", "v1.0.jpg"), ["noend.png", ".jpg.png", "v1.0.png"]),
        (("../../up.jpg", "/etc/x.jpg", "..\\y.jpg", "."), ["up.png", "etc/x.png", "y.png", "000003.png"]),
        (("a\nb.jpg", "a:b.jpg", "c\0.jpg"), ["a-b.jpg.png", "a-b.jpg-1.png", "c-.png"]),
    ],
)
def test_names_are_kept_and_stay_apart(names: tuple[str, ...], expected: list[str]) -> None:
    assert named(*names) == expected


@pytest.mark.parametrize("letter", ["e", "\u00e9", "\U0001f600", "\udcff"])
def test_long_names_are_cut_and_stay_apart(letter: str) -> None:
    found = named(letter * 250 + ".jpg", letter * 251 + ".jpg", letter * 400 + "/a.jpg")
    assert len(set(found)) == 3
    assert all(len(part.encode(errors="surrogateescape")) < 220 for name in found for part in name.split("/"))
