"""`zoo sample`: writes generated samples as one grid or as one file each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from aigc_zoo import options
from aigc_zoo.data import resolve, writers
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine.sampler import CHUNK
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.generator import load_generator


def save_samples(
    catalogue: Catalogue,
    source: Path,
    count: int,
    *,
    out: Path | None = None,
    seed: int = 0,
    label: str | None = None,
    data: str | None = None,
    device: torch.device | str = "cpu",
    more: Sequence[str] = (),
) -> list[Path]:
    """Writes `count` samples of a run or a generator file and returns the paths.

    `out` with a suffix is one file for all samples, a grid (images, points) or an array; without a suffix it is a
    folder for one file each, written chunk by chunk. `label` is the name or number of a class. `more` are the recipe's
    own sampling options as command line words.
    """
    generator = load_generator(catalogue, source, device=device)
    inputs = None
    if generator.recipe.inputs and data is not None:
        pool = Pool(resolve.load(catalogue, data)["train"], torch.device("cpu"))
        inputs = pool.rows
    keywords = options.parse_call(generator.recipe.generate, ("nets", "batch"), more)
    sampler = generator.sampler(seed=seed, label=label, inputs=inputs, **keywords)
    if out is None:
        folder = source if source.is_dir() else source.parent
        out = folder / f"{'sample' if source.is_dir() else source.stem}-seed{seed}{writers.suffix(generator.spec)}"
    if out.suffix:
        writers.save_grid(sampler.samples(count), generator.spec, out)
        return [out]
    written: list[Path] = []
    for number, chunk in enumerate(sampler.chunks(count)):
        written += writers.save_each(chunk, generator.spec, out, start=number * CHUNK)
    return written
