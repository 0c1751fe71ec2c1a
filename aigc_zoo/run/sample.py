"""`zoo sample`: writes generated samples as one grid or as one file each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aigc_zoo import options
from aigc_zoo.artefacts.atomic import make_folder
from aigc_zoo.data import resolve, writers
from aigc_zoo.data.pool import Pool
from aigc_zoo.engine.sampler import CHUNK, Sampler
from aigc_zoo.errors import UsageError
from aigc_zoo.modality import Modality
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.arguments import argument
from aigc_zoo.run.generator import CALLED_WITH, Generator, load_generator


def save_samples(
    catalogue: Catalogue,
    source: Path,
    count: int,
    *,
    out: Path | str | None = None,
    stem: Path | None = None,
    seed: int = 0,
    label: int | str | None = None,
    data: str | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    more: Sequence[str] = (),
) -> list[Path]:
    """Writes `count` samples of a run or a generator file and returns the paths.

    out    a file for all samples in a format of their modality; or a folder for one file each, written chunk by chunk,
           which must have no samples yet. By default a file beside the generator, named by seed, class, data
           and sampling options
    stem   the start of that file's path; by default that of the generator
    label  the name or number of a class
    more   the recipe's own sampling options as command line words
    """
    count = argument("-n", count)
    generator = load_generator(catalogue, source, device=device)
    modality = generator.modality
    folder = Path(out) if out is not None and writers.is_folder(out) else None
    if folder is not None:
        writers.require_no_samples(folder, modality)
    elif out is not None:
        writers.require_suffix(Path(out), modality)
    how: dict[str, Any] = {"seed": seed, "label": label, "data": data, "dataset_options": dataset_options}
    sampler = sampler_of(catalogue, generator, **how, **_keywords(generator, more))
    if folder is not None:
        return _save_each(sampler, modality, count, folder)
    name = _file_name(sampler, generator.classes, data)
    stem = stem or (source / "sample" if source.is_dir() else source.with_suffix(""))
    path = Path(out) if out is not None else stem.with_name(f"{stem.name}-{name}{writers.suffix(modality)}")
    writers.save_all(sampler.samples(count), generator.spec, modality, path)
    return [path]


def sampler_of(
    catalogue: Catalogue,
    generator: Generator,
    *,
    seed: int = 0,
    label: int | str | None = None,
    data: Any = None,
    dataset_options: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Sampler:
    """The sampler of `zoo sample` and `Run.sample`; `data` is the dataset of inputs: a name, a path, or in memory.

    Raises UsageError for data that the recipe does not read.
    """
    inputs = None
    if data is not None:
        if not generator.recipe.inputs:
            raise UsageError(f"--data: {generator.card['recipe']} generates samples from noise alone; leave it out")
        named = catalogue.remembering(generator.card)  # what its card names means what it meant in training
        inputs = Pool(resolve.load(named, data, options=dataset_options)["train"], torch.device("cpu")).rows
    return generator.sampler(seed=argument("--seed", seed), label=label, inputs=inputs, **keywords)


def _keywords(generator: Generator, words: Sequence[str]) -> dict[str, Any]:
    """The sampling options on the command line. UsageError says where they are listed."""
    with generator.explain_options():
        return options.parse_call(generator.recipe.generate, CALLED_WITH, words)


def _save_each(sampler: Sampler, modality: Modality, count: int, folder: Path) -> list[Path]:
    """Writes one file per sample. If that fails, the files are removed, so that they are not mixed with others."""
    new = not folder.exists()
    make_folder(folder)
    before = set(folder.iterdir())
    try:
        chunks = enumerate(sampler.chunks(count))
        found = [
            writers.save_each(chunk, sampler.spec, modality, folder, start=number * CHUNK) for number, chunk in chunks
        ]
    except BaseException:
        for path in set(folder.iterdir()) - before:
            if re.fullmatch(r"\d{6,}\.\w+", path.name):
                path.unlink(missing_ok=True)
        if new and not any(folder.iterdir()):
            folder.rmdir()
        raise
    return [path for paths in found for path in paths]


def _file_name(sampler: Sampler, classes: Sequence[str], data: str | None) -> str:
    """Seed, class, data and sampling options as part of a file name, so that no other samples have the same name.

    Characters that are unsafe in a file name are replaced, and then a digest keeps names apart.
    """
    parts = [f"seed{sampler.seed}"]
    parts += [] if sampler.label is None else [f"class-{classes[sampler.label]}"]
    parts += [] if data is None else [f"data-{Path(data).name}"]
    parts += [f"{key}-{value}" for key, value in sorted(sampler.options.items())]
    text = "-".join(parts)
    name = re.sub(r"[^\w.-]+", "-", text)[:60]
    return name if name == text else f"{name}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"
