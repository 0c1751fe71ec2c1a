"""Tables of the commands, and files of types that a command does not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_zoo.cli import main
from aigc_zoo.cli.text import table


@pytest.mark.parametrize("paper", ["https://example.org/" + "a" * 200, "Author, " * 40, "文" * 90])
def test_a_long_paper_leaves_room_for_the_summary(paper: str) -> None:
    summary = "A summary of some forty characters in one row"
    first, second = table([("one", summary, "arXiv:1406.2661"), ("two", summary, paper)], cut=1, last=25).splitlines()
    assert summary in first
    assert summary in second
    assert first.endswith("arXiv:1406.2661")
    assert second.endswith("...")
    assert len(second) <= 100


def test_zoo_list_shortens_a_long_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from aigc_zoo.spec import Component, hookimpl\nZOO_API = 1\n\n@hookimpl\ndef zoo_components():\n"
        "    yield Component(kind='penalty', name='a', target='a:a', summary='A plain one', paper='Author, ' * 30)\n"
        "    yield Component(kind='penalty', name='b', target='a:b', summary='Another plain summary', paper='x:1')\n"
    )
    assert main(["--plugin", str(path), "list", "--kind", "penalty", "local/*"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split("  ")[1] == "A plain one"
    assert "Another plain summary  x:1" in second
    assert len(first) <= 100


@pytest.mark.parametrize("name", ["x.csv", "samples.txt", "photo.jpg", "weights.pt"])
def test_a_file_of_another_type_is_not_called_damaged(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("1,2\n")
    assert main(["eval", str(tmp_path / name)]) == 65
    error = capsys.readouterr().err
    assert "damaged" not in error
    assert f"files of type {Path(name).suffix} cannot be evaluated" in error
    assert len(error.splitlines()) == 2
