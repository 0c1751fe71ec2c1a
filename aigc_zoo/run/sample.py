"""`zoo sample`: writes generated samples to one file, or to one file each, called after their inputs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch

from aigc_zoo import options
from aigc_zoo.artefacts.atomic import make_folder
from aigc_zoo.data import writers
from aigc_zoo.data.output_names import output_paths
from aigc_zoo.errors import UsageError
from aigc_zoo.modality import Modality
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.arguments import argument
from aigc_zoo.run.free_memory import require_free
from aigc_zoo.run.generation import Note, Sampling, open_sampling
from aigc_zoo.run.generator import CALLED_WITH, Generator, load_generator

SHEET = ".png"
"""Suffix of the preview of samples, which shows them beside their inputs where they have some."""


NAME_BYTES = 1_000
"""Bytes of the names and paths of a sample that is written to a file of its own, at most."""


class Saved(NamedTuple):
    """The number of samples that were written, and the paths of their files."""

    number: int
    paths: list[Path]


def save_samples(
    catalogue: Catalogue,
    source: Path,
    count: int | None = None,
    *,
    out: Path | str | None = None,
    stem: Path | None = None,
    seed: int = 0,
    label: int | str | None = None,
    inputs: Mapping[str, Sequence[str]] | None = None,
    data: str | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    tile: int | None = None,
    device: torch.device | str = "cpu",
    more: Sequence[str] = (),
    note: Note = lambda text: None,
) -> Saved:
    """Writes samples of a run or a generator file.

    count   by default 64, or one for each input
    out     a file for all samples in a format of their modality; or a folder for one file each, called after its input
            where that is a file. Samples are written one by one, to a folder that must have none yet. By default a file
            beside the generator, named by seed, class, inputs, data and sampling options
    stem    the start of that file's path; by default that of the generator
    label   the name or number of a class
    inputs  paths or texts by the entry that the recipe reads; the remaining ones are those of `data`
    tile    the largest side that networks get at once
    more    the recipe's own sampling options as command line words
    note    is called with sentences on how inputs are read
    """
    count = None if count is None else argument("-n", count)
    generator = load_generator(catalogue, source, device=device)
    folder = Path(out) if out is not None and writers.is_folder(out) else None
    if folder is not None:
        writers.require_no_samples(folder, generator.modality)
    elif out is not None:
        writers.require_suffix(Path(out), generator.modality, one=bool(generator.recipe.inputs))
    how: dict[str, Any] = {"seed": seed, "label": label, "dataset_options": dataset_options, "tile": tile, "note": note}
    with ExitStack() as stack:
        keywords = {**how, **_keywords(generator, more)}
        sampling = open_sampling(stack, catalogue, generator, inputs=inputs, data=data, **keywords)
        if folder is not None:
            paths = _save_each(sampling, generator.modality, sampling.count(count, each=True), folder)
            return Saved(len(paths), paths)
        stem = stem or (source / "sample" if source.is_dir() else source.with_suffix(""))
        name = _file_name(_name_parts(sampling, generator.classes, inputs or {}, data))
        path = Path(out) if out is not None else stem.with_name(f"{stem.name}-{name}")
        count = sampling.count(count)
        return Saved(count, [_save_all(sampling, generator.modality, count, path, named=out is not None)])


def _keywords(generator: Generator, words: Sequence[str]) -> dict[str, Any]:
    """The sampling options on the command line. UsageError says where they are listed."""
    with generator.explain_options():
        return options.parse_call(generator.recipe.generate, CALLED_WITH, words)


def _save_all(sampling: Sampling, modality: Modality, count: int, path: Path, *, named: bool) -> Path:
    """Writes one file of all samples: of one input as files of one sample are, else as the modality writes several."""
    one = sampling.inputs is not None and count == 1 and sampling.inputs.more is None
    path = path if named else path.with_name(f"{path.name}{writers.suffix(modality, one=one)}")
    writers.require_suffix(path, modality, one=one)
    if one:
        ((sample, spec),) = sampling.each(1)
        writers.save_one(sample[0], spec, modality, path)
    elif sampling.inputs is not None and path.suffix.lower() == SHEET:
        make_folder(path.parent)
        writers.save_image(sampling.preview(count), path)
    else:
        writers.save_all(*sampling.all(count), modality, path)
    return path


def _save_each(sampling: Sampling, modality: Modality, count: int, folder: Path) -> list[Path]:
    """Writes one file per sample. If that fails, the files are removed, so that they are not mixed with others."""
    require_free(count, NAME_BYTES, f"-n {count:,}: the names of these files", "")
    paths = output_paths(folder, _names(sampling, count), writers.suffix(modality, one=True))
    if there := next((path for path in paths if path.exists()), None):
        raise UsageError(f"{there} exists already: choose another --out, or remove it")
    folders = {above for path in paths for above in path.parents if above.is_relative_to(folder)}
    new = sorted((one for one in folders if not one.exists()), reverse=True)
    done = []
    try:
        for path, (sample, spec) in zip(paths, sampling.each(count), strict=True):
            done.append(path)
            writers.save_one(sample[0], spec, modality, path)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        for one in new:
            if one.is_dir() and not any(one.iterdir()):
                one.rmdir()
        raise
    return paths


def _names(sampling: Sampling, count: int) -> list[str]:
    """The names of the files that samples are generated from; with a number where a file has several samples."""
    if sampling.inputs is None:
        return [""] * count
    inputs = sampling.inputs
    names = [inputs.name(number) for number in range(count)]
    if count <= inputs.count:
        return names
    rounds = (f"-{number // inputs.count:06d}" for number in range(count))
    parts = (name.rpartition(".") for name in names)
    return [
        f"{stem}{turn}{dot}{suffix}" if dot else "" for (stem, dot, suffix), turn in zip(parts, rounds, strict=True)
    ]


def _name_parts(
    sampling: Sampling, classes: Sequence[str], inputs: Mapping[str, Sequence[str]], data: str | None
) -> list[tuple[str, str]]:
    """Seed, class, inputs, data and sampling options: each as shown in a file name, and whole."""
    sampler = sampling.sampler
    parts = [(f"seed{sampler.seed}",) * 2]
    parts += [] if sampler.label is None else [(f"class-{classes[sampler.label]}",) * 2]
    given = [(name, value) for name, values in inputs.items() for value in values]
    parts += [(f"{name}-{Path(value).stem}", f"{name}-{Path(value).absolute()}") for name, value in given]
    parts += [] if data is None else [(f"data-{Path(data).name}",) * 2]
    parts += [] if sampling.tile is None else [(f"tile{sampling.tile}",) * 2]
    return parts + [(f"{key}-{value}",) * 2 for key, value in sorted(sampler.options.items())]


def _file_name(parts: Sequence[tuple[str, str]]) -> str:
    """Part of a file name, so that no other samples have the same name.

    Characters that are unsafe in a file name are replaced, and then a digest keeps names apart.
    """
    shown, whole = ("-".join(each) for each in zip(*parts, strict=True))
    name = re.sub(r"[^\w.-]+", "-", shown)[:60]
    return name if name == whole else f"{name}-{hashlib.sha256(whole.encode(errors='surrogatepass')).hexdigest()[:8]}"
