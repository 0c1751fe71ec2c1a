"""Chess positions: a one-hot plane for an empty field and for each of the twelve pieces, (13, 8, 8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Modality, Writer, npy, png

PIECES = " PNBRQKpnbrqk"
SIDE = 12
MODALITY = "chess/position"


class Position(Modality):
    """One position per line of a .fen file, of which the board is read."""

    noun, units, suffixes, previews = "position", "positions", (".fen",), 16

    def scan(self, file: IO[bytes], name: str) -> Iterator[None]:
        for _ in _boards(file):
            yield None

    def plan(self, scans: Sequence[None]) -> Spec:
        return Spec(shape=(13, 8, 8), range=(0.0, 1.0), modality=MODALITY)

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        return "uint8", (8, 8)

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[np.ndarray[Any, Any]]:
        yield from _boards(file)

    def example(self) -> tuple[Spec, np.ndarray[Any, Any]]:
        boards = np.random.default_rng(0).integers(0, len(PIECES), (6, 8, 8), dtype=np.uint8)
        return self.plan([]), boards

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        return torch.nn.functional.one_hot(rows.long(), len(PIECES)).permute(0, 3, 1, 2).float()

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        return x.argmax(1).to(torch.uint8)

    @property
    def one(self) -> Mapping[str, Writer]:
        return {".fen": lambda x, spec: self._lines(x[None], spec), ".npy": npy}

    @property
    def many(self) -> Mapping[str, Writer]:
        return {".fen": self._lines, ".png": lambda x, spec: png(self.preview(x, spec)), ".npy": npy}

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        boards = self.quantize(x.cpu(), spec).tolist()
        columns = min(4, len(boards))
        size = 8 * SIDE + 4
        sheet = Image.new("L", (columns * size, -(-len(boards) // columns) * size), 60)
        pen = ImageDraw.Draw(sheet)
        for number, board in enumerate(boards):
            left, top = number % columns * size + 2, number // columns * size + 2
            for row, fields in enumerate(board):
                for column, piece in enumerate(fields):
                    x0, y0 = left + column * SIDE, top + row * SIDE
                    shade = 235 if (row + column) % 2 == 0 else 170
                    pen.rectangle((x0, y0, x0 + SIDE - 1, y0 + SIDE - 1), fill=shade)
                    pen.text((x0 + 3, y0), PIECES[piece], fill=0 if PIECES[piece].islower() else 90)
        return sheet

    def html(self, x: Tensor, spec: Spec) -> str:
        board = self.quantize(x[None].cpu(), spec)[0].tolist()
        text = "\n".join("".join(PIECES[piece].replace(" ", ".") for piece in row) for row in board)
        return f"<pre>{escape(text)}</pre>"

    def metrics(self, spec: Spec) -> tuple[str, ...]:
        return ("chess/kings",)

    def _lines(self, x: Tensor, spec: Spec) -> bytes:
        return "".join(_fen(board) + "\n" for board in self.quantize(x.cpu(), spec).tolist()).encode()


def _boards(file: IO[bytes]) -> Iterator[np.ndarray[Any, Any]]:
    file.seek(0)
    for number, line in enumerate(file.read().decode("ascii").splitlines(), 1):
        board = np.zeros((8, 8), np.uint8)
        rows = line.split()[0].split("/") if line.split() else []
        if len(rows) != 8:
            raise ValueError(f"line {number} has {len(rows)} rows, not 8")
        for row, text in enumerate(rows):
            fields = "".join(" " * int(letter) if letter.isdigit() else letter for letter in text)
            if len(fields) != 8 or not set(fields) <= set(PIECES):
                raise ValueError(f"row {row + 1} of line {number} is no row of a board: {text}")
            board[row] = [PIECES.index(letter) for letter in fields]
        yield board


def _fen(board: Sequence[Sequence[int]]) -> str:
    rows = []
    for row in board:
        text, empty = "", 0
        for piece in row:
            if piece:
                text, empty = text + (str(empty) if empty else "") + PIECES[piece], 0
            else:
                empty += 1
        rows.append(text + (str(empty) if empty else ""))
    return "/".join(rows) + " w - - 0 1"
