"""Writes generated samples in the formats of their modality, and animates previews.

The same samples give the same bytes, since no file has a date.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from aigc_zoo.artefacts.atomic import make_folder, write_bytes
from aigc_zoo.errors import UsageError
from aigc_zoo.game import Spec
from aigc_zoo.modality import Modality, png

FRAMES = 64
FRAME_MS = 120
LAST_MS = 2000

ARRAYS = (".npy", ".npz")
"""Suffixes of arrays, which are read as samples of any modality."""


def suffix(modality: Modality, *, one: bool = False) -> str:
    """The suffix of the file that `save_all` writes by default, or `save_one`."""
    return next(iter(modality.one if one else modality.many))


def is_folder(out: Path | str) -> bool:
    """Whether `out` names a folder: it is one, or ends with a slash, or has no suffix; that of `v1.0` is a number."""
    path = Path(out)
    last = str(out)[-1:]
    return last in ("/", os.sep) or path.is_dir() or not path.suffix[1:] or path.suffix[1:].isdecimal()


def require_suffix(path: Path, modality: Modality, *, one: bool = False) -> None:
    """Raises UsageError unless `save_all`, or `save_one`, can write a file of this name, also in capitals."""
    known = list({**modality.one, **modality.many} if one else modality.many)
    if path.suffix.lower() not in known:
        listed = f"{', '.join(known[:-1])} or {known[-1]}" if known[1:] else known[0]
        raise UsageError(f"{path}: {modality.units} are written as {listed}\nend the name of a folder with a slash")


def require_no_samples(folder: Path, modality: Modality) -> None:
    """Raises UsageError if the folder has files of this modality, with which new samples would be mixed."""
    if not folder.is_dir():
        return
    suffixes = (*modality.suffixes, *modality.one, *ARRAYS)
    found = [path.name for path in folder.iterdir() if path.name.lower().endswith(suffixes) and path.name[0] != "."]
    if found:
        one = f"{len(found):,} files such as {min(found)}" if len(found) > 1 else found[0]
        raise UsageError(
            f"{folder} has samples already: {one}\n"
            "new samples would be mixed with them: choose another --out, or remove these files"
        )


def save_all(samples: Tensor, spec: Spec, modality: Modality, path: Path) -> None:
    """Writes all samples to one file, atomically, in the format of its suffix.

    Raises UsageError for another suffix, StorageError where the file cannot be written.
    """
    require_suffix(path, modality)
    make_folder(path.parent)
    write_bytes(path, modality.many[path.suffix.lower()](samples, spec))


def save_one(sample: Tensor, spec: Spec, modality: Modality, path: Path) -> None:
    """Writes one sample (*spec.shape), atomically, in the format of the path's suffix, else as several samples are.

    Raises UsageError for another suffix, StorageError where the file cannot be written.
    """
    require_suffix(path, modality, one=True)
    make_folder(path.parent)
    write = modality.one.get(path.suffix.lower())
    content = write(sample, spec) if write else modality.many[path.suffix.lower()](sample[None], spec)
    write_bytes(path, content)


def save_image(image: Image.Image, path: Path) -> None:
    """Writes an image as PNG, atomically. Raises StorageError."""
    write_bytes(path, png(image))


def animate(paths: Sequence[Path], out: Path) -> None:
    """Writes a looping GIF of at most 64 evenly chosen images of equal size; the last one is shown for longer."""
    count = min(len(paths), FRAMES)
    chosen = [paths[number * (len(paths) - 1) // max(1, count - 1)] for number in range(count)]
    frames = []
    for path in chosen:
        with Image.open(path, formats=["PNG"]) as image:
            # Pillow's default method takes 25 times as long for a hardly visible difference.
            method = Image.Quantize.FASTOCTREE
            frames.append(image.copy() if image.mode == "L" else image.quantize(256, method, dither=Image.Dither.NONE))
    target = io.BytesIO()
    durations = [FRAME_MS] * (count - 1) + [LAST_MS]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(out, target.getvalue())
