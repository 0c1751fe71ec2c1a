"""Positions with both kings and up to four other pieces on random fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from aigc_zoo.data.samples import samples_of
from aigc_zoo.game import Samples, Spec

from .position import MODALITY, PIECES, Position


def endgames(where: Path, *, pieces: int = 4) -> Mapping[str, Samples]:
    """2,000 positions for training and 500 held out.

    pieces: largest number of pieces beside the kings.
    """
    splits = {}
    for seed, (split, count) in enumerate({"train": 2_000, "test": 500}.items()):
        stream = torch.Generator().manual_seed(seed)
        fields = torch.rand(count, 64, generator=stream).argsort(1)[:, : 2 + pieces]
        values = torch.randint(1, 13, (count, 2 + pieces), generator=stream)
        values[values == PIECES.index("K")] = PIECES.index("Q")
        values[values == PIECES.index("k")] = PIECES.index("q")
        values[:, 0], values[:, 1] = PIECES.index("K"), PIECES.index("k")
        kept = torch.arange(2 + pieces) < 2 + torch.randint(0, pieces + 1, (count, 1), generator=stream)
        boards = torch.zeros(count, 64, dtype=torch.uint8).scatter_(1, fields, (values * kept).to(torch.uint8))
        spec = Spec(shape=(13, 8, 8), range=(0.0, 1.0), modality=MODALITY)
        splits[split] = samples_of(Position(), "endgames", split, spec, boards.view(count, 8, 8))
    return splits
