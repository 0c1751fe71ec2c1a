"""pix2pix on small pairs of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aigc_zoo.game import Recipe, Spec
from aigc_zoo.options import build, resolve
from aigc_zoo.plugins import catalogue
from aigc_zoo.random import generator

SIDE, BATCH = 12, 8
PAIRS = Spec(shape=(3, SIDE, SIDE), entries={"source": Spec(shape=(1, SIDE, SIDE))})
SMALL = {"generator.width": 4, "generator.dropout": 0.0, "discriminator.width": 4, "discriminator.depth": 1, "lr": 1e-3}


def pix2pix(**given: Any) -> Recipe:
    """The recipe with networks of width 4 and without dropout, whose noise is the network's own."""
    values = {key.replace("__", "."): value for key, value in given.items()}
    return build(catalogue(), resolve(catalogue(), "zoo/pix2pix", data="nothing", given=SMALL | values))


def pairs(number: int, size: int = BATCH, dtype: torch.dtype = torch.float32, side: int = SIDE) -> dict[str, Tensor]:
    """Grey sources, and real images that are their negatives in random colors."""
    stream = generator(number, "pairs")
    source = torch.rand(size, 1, side, side, generator=stream, dtype=torch.float64) * 2 - 1
    tint = torch.rand(size, 3, 1, 1, generator=stream, dtype=torch.float64)
    return {"source": source.to(dtype), "real": (-source * tint).to(dtype)}
