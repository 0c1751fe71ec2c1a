"""Text: lines and windows, symbols, pages, exact files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch

from aigc_zoo.game import Spec
from aigc_zoo_plugins.modalities.text import PADDING, Text

TEXT = Text()


def read(*files: str, name: str = "a.txt", **options: int) -> tuple[torch.Tensor, Spec]:
    parts = [file.encode() for file in files]
    scans = [[*TEXT.scan(io.BytesIO(part), name)] for part in parts]
    spec = TEXT.plan([scan for some in scans for scan in some], **options)
    rows = [[*TEXT.read(io.BytesIO(part), name, spec)] for part in parts]
    assert [len(some) for some in rows] == [TEXT.count(some, spec) for some in scans]
    return torch.from_numpy(np.stack([row for some in rows for row in some])), spec


def test_each_line_is_a_sample() -> None:
    rows, spec = read("one\n\n  \ntwelve\r\nthe end")
    assert TEXT.texts(rows, spec) == ["one", "twelve", "the end"]
    assert (spec.shape, spec.range, spec.dtype) == ((7,), None, "int64")
    assert spec.symbols == (PADDING, *sorted(set("onetwelvetheend ")))
    assert rows[0, 3:].eq(0).all()


def test_windows_have_the_whole_text_line_breaks_included() -> None:
    content = "To be,\nor not\n\nto be: that is the question."
    rows, spec = read(content, length=8)
    assert "".join(TEXT.texts(rows, spec)) == content[: len(rows) * 8]
    assert len(rows) == len(content) // 8
    assert "\n" in spec.symbols


@pytest.mark.parametrize(
    ("files", "rest"),
    [
        (("abcdefgh",), 0),
        (("abc",), 0),
        (("abcdefghi",), 1),
        (("\nab\n\ncdefg", "abcdefghij", "a", "abcd\nefgh\nijklmnop\n"), 1 + 2 + 2),
    ],
)
def test_what_follows_the_last_whole_window_of_a_file_is_noted(files: tuple[str, ...], rest: int) -> None:
    scans = [scan for file in files for scan in TEXT.scan(io.BytesIO(file.encode()), "a.txt")]
    said = f"left out {rest} character{'s' if rest > 1 else ''} after the last whole window of 8 (--data.length)"
    assert TEXT.notes(scans, TEXT.plan(scans, length=8)) == ([said] if rest else [])
    assert TEXT.notes(scans, TEXT.plan(scans)) == [], "whole lines"


def test_jsonl_is_read_by_its_text() -> None:
    lines = "\n".join(json.dumps({"text": text, "id": 1}) for text in ("a\nb", "caf\u00e9"))
    rows, spec = read(lines, name="a.JSONL")
    assert TEXT.texts(rows, spec) == ["a\nb", "café"]


@pytest.mark.parametrize("texts", [["plain", "two words"], ["a\nb", "c"], ["ünï", "☃ snow"]])
def test_samples_survive_a_file(texts: list[str]) -> None:
    rows, spec = read("\n".join(json.dumps({"text": text}) for text in texts), name="a.jsonl")
    again, other = read(TEXT.many[".jsonl"](rows, spec).decode(), name="a.jsonl")
    assert TEXT.texts(again, other) == texts
    if not any("\n" in text for text in texts):
        again, other = read(TEXT.many[".txt"](rows, spec).decode())
        assert TEXT.texts(again, other) == texts
    assert TEXT.one[".txt"](rows[0], spec).decode() == texts[0] + "\n"


def test_a_symbol_that_the_data_lack_is_named() -> None:
    _, spec = read("abc")
    with pytest.raises(ValueError, match="the character 'z' is not among the 3 symbols"):
        list(TEXT.read(io.BytesIO(b"az"), "b.txt", spec))


def test_html_is_escaped_and_the_page_has_a_line_for_each_text() -> None:
    rows, spec = read("<script>alert(1)</script>\nplain")
    assert TEXT.html(rows[0], spec) == "<pre>&lt;script&gt;alert(1)&lt;/script&gt;</pre>"
    page = np.asarray(TEXT.preview(rows, spec))
    assert (page[8:22] < 128).any()
    assert (page[26:40] < 128).any()


def test_values_outside_the_symbols_are_clamped() -> None:
    _, spec = read("ab")
    assert TEXT.quantize(torch.tensor([[-3.0, 0.6]]), spec).tolist() == [[0, 1]]
    assert TEXT.texts(torch.tensor([[99, 1]]), spec) == ["ba"]
