"""Text as characters: lines or windows of .txt files, and the `text` of .jsonl files, in UTF-8."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import IO, Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Modality, Values, Writer, npy, png
from aigc_zoo.spec import Range

LONGEST = 256
"""Characters of a line where no length is given, at most."""

MOST_SYMBOLS = 8_192
PADDING = ""
"""The symbol with index 0, which follows the end of a text."""

LETTER, LINE, COLUMNS = 12, 18, 88


class Scan(NamedTuple):
    """Length of a text in characters, the characters in it, and the number of line breaks before it."""

    length: int
    symbols: frozenset[str]
    breaks: int


class Text(Modality):
    """Indices (L,) int64 into `spec.symbols`, of which the first, "", pads short texts."""

    noun: ClassVar[str] = "text"
    units: ClassVar[str] = "texts"
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".jsonl")
    previews: ClassVar[int] = 32
    rank: ClassVar[int] = 2
    typed: ClassVar[str] = ".txt"

    def scan(self, file: IO[bytes], name: str) -> Iterator[Scan]:
        for text, breaks in _texts(file, name):
            yield Scan(len(text), frozenset(text), breaks)

    def plan(self, scans: Sequence[Scan], *, length: Annotated[int | None, Range(1, 65_536)] = None) -> Spec:
        """Length and symbols of all texts.

        length: characters of a sample, which is then a window of the text, line breaks included; by default a sample is
            a line, and the longest line gives the length, at most 256.
        """
        symbols = frozenset().union(*(scan.symbols for scan in scans)) | ({"\n"} if length else frozenset())
        if len(symbols) >= MOST_SYMBOLS:
            raise ValueError(f"{len(symbols):,} different characters are more than {MOST_SYMBOLS:,}")
        return Spec(
            shape=(length or min(LONGEST, max(scan.length for scan in scans)),),
            range=None,
            dtype="int64",
            modality="text",
            symbols=(PADDING, *sorted(symbols)),
            extra={"windows": True} if length else {},
        )

    def alike(self, spec: Spec, reference: Spec) -> Spec:
        return replace(spec, shape=reference.shape, symbols=reference.symbols, extra=reference.extra)

    def conversion(self, scans: Sequence[Scan], spec: Spec) -> str:
        (length,) = spec.shape
        if spec.extra.get("windows"):
            return f"windows of {length} characters"
        return f"lines cut to {length} characters" if any(scan.length > length for scan in scans) else "none"

    def notes(self, scans: Sequence[Scan], spec: Spec) -> Sequence[str]:
        (length,) = spec.shape
        if spec.extra.get("windows"):
            rest = sum(whole % length for whole in _lengths(scans) if whole > length)
            left = f"left out {rest:,} character{'s' if rest > 1 else ''}"
            return [f"{left} after the last whole window of {length} (--data.length)"] if rest else []
        cut = sum(scan.length > length for scan in scans)
        lines = f"{cut:,} line{'s' if cut > 1 else ''}"
        return [f"cut {lines} to {length} characters (--data.length reads windows instead of lines)"] if cut else []

    def count(self, scans: Sequence[Scan], spec: Spec) -> int:
        if not spec.extra.get("windows"):
            return len(scans)
        return max(1, sum(_lengths(scans)) // spec.shape[0])

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        (length,) = spec.shape
        index = {symbol: number for number, symbol in enumerate(spec.symbols)}
        if not spec.extra.get("windows"):
            for text, _ in _texts(file, name):
                yield _indices(text[:length], length, index)
            return
        whole = "".join("\n" * breaks + text for text, breaks in _texts(file, name))
        for number in range(max(1, len(whole) // length)):
            yield _indices(whole[number * length : (number + 1) * length], length, index)

    def example(self) -> tuple[Spec, Values]:
        texts = ("red", "green <b>", "blue & so on", "\u00e4\u4e2d'\"")
        scans = [Scan(len(text), frozenset(text), 0) for text in texts]
        spec = self.plan(scans)
        index = {symbol: number for number, symbol in enumerate(spec.symbols)}
        return spec, np.stack([_indices(text, spec.shape[0], index) for text in texts])

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        return rows.to(torch.int64)

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return x.round().clamp(0, max(0, len(spec.symbols) - 1)).to(torch.int64)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {".txt": lambda x, spec: f"{self.texts(x[None], spec)[0]}\n".encode(), ".npy": npy}

    @property
    def many(self) -> Mapping[str, Writer]:
        return {
            ".txt": self._lines,
            ".jsonl": self._records,
            ".png": lambda x, spec: png(self.preview(x, spec)),
            ".npy": npy,
        }

    def texts(self, x: Tensor, spec: Spec) -> list[str]:
        """The texts of indices (N, L); padding is left out. Indices without a symbol are written as numbers."""
        symbols = spec.symbols
        if not symbols:
            return [" ".join(map(str, row)) for row in x.tolist()]
        return ["".join(symbols[index] for index in row) for row in self.quantize(x.cpu(), spec).tolist()]

    def _lines(self, x: Tensor, spec: Spec) -> bytes:
        """A line for each text; texts of several lines are separated by an empty one."""
        texts = self.texts(x, spec)
        between = "\n\n" if any("\n" in text for text in texts) else "\n"
        return f"{between.join(texts)}\n".encode()

    def _records(self, x: Tensor, spec: Spec) -> bytes:
        return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in self.texts(x, spec)).encode()

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        """A page with one text after the other; line breaks are shown as a mark."""
        rows = max(1, math.ceil(spec.shape[0] / COLUMNS))
        rows = min(rows, 6)
        lines = []
        for text in self.texts(x, spec):
            shown = "".join("\u21b5" if symbol == "\n" else symbol for symbol in text)
            parts = [shown[start : start + COLUMNS] for start in range(0, rows * COLUMNS, COLUMNS)]
            lines += parts
        font = _font()
        width = round(font.getlength("m") * COLUMNS) + 2 * LETTER
        page = Image.new("L", (width, len(lines) * LINE + LETTER), 255)
        draw = ImageDraw.Draw(page)
        for number, line in enumerate(lines):
            if number // rows % 2:
                draw.rectangle((0, number * LINE + 6, width, (number + 1) * LINE + 5), fill=242)
            draw.text((LETTER, number * LINE + 6), line, font=font, fill=0)
        return page

    def html(self, x: Tensor, spec: Spec) -> str:
        return f"<pre>{escape(self.texts(x[None], spec)[0])}</pre>"


def _lengths(scans: Sequence[Scan]) -> list[int]:
    """The characters of each file, line breaks included; only the first text of a file has no line break before it."""
    lengths: list[int] = []
    for scan in scans:
        if scan.breaks:
            lengths[-1] += scan.length + scan.breaks
        else:
            lengths.append(scan.length)
    return lengths


def _texts(file: IO[bytes], name: str) -> Iterator[tuple[str, int]]:
    """The lines of a .txt file, or the texts of a .jsonl file, without empty ones, and the line breaks before each."""
    file.seek(0)
    try:
        content = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start:,} is 0x{error.object[error.start]:02x}") from error
    last = 0
    for number, line in enumerate(content.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        text = _record(line, number) if name.lower().endswith(".jsonl") and line.strip() else line
        if text.strip():
            yield text, number - last if last else 0
            last = number
    if not last:
        raise ValueError("it has no text")


def _record(line: str, number: int) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f'line {number:,} is no JSON object with a "text"') from error
    if not isinstance(text, str):
        raise ValueError(f'the "text" of line {number:,} is no string')
    return text


def _indices(text: str, length: int, index: Mapping[str, int]) -> Values:
    row = np.zeros(length, np.int64)
    for place, symbol in enumerate(text):
        if symbol not in index:
            raise ValueError(f"the character {symbol!r} is not among the {len(index) - 1:,} symbols of the data")
        row[place] = index[symbol]
    return row


@cache
def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans Mono, which comes with matplotlib and has the letters of most languages."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"
    return ImageFont.truetype(str(path), LETTER)
