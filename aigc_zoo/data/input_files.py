"""Files, folders, zips and texts as inputs of a generator: scanned at first, and read one by one when they are used."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from torch import Tensor

from aigc_zoo.data import arrays, files
from aigc_zoo.data.inputs import Entry, Input, from_samples, from_tensor
from aigc_zoo.data.kinds import Kinds
from aigc_zoo.data.layout import EVERYTHING, Files, View, plain, split_name
from aigc_zoo.data.split_words import read_name
from aigc_zoo.errors import DataError, StorageError
from aigc_zoo.game import Spec
from aigc_zoo.modality import Values
from aigc_zoo.options.references import exists, expanded
from aigc_zoo.text import with_article

ARRAYS = (".npy", ".npz")
HELD_OUT = ("test", "val")

T = TypeVar("T")


def from_value(stack: ExitStack, entry: Entry, value: Any) -> tuple[list[Input], list[str]]:
    """The inputs that a path, a text, a tensor or an array stands for, and notes on how they are converted.

    A text is one where no such file or folder exists, for a modality that is typed. Files stay open with `stack`.
    Raises DataError for what cannot be read as the entry, StorageError where the system refuses to read it.
    """
    if not isinstance(value, str | Path):
        return from_tensor(entry, value), []
    path = expanded(value)
    suffixes = (*entry.modality.suffixes, *ARRAYS, ".zip")
    is_file = str(value).lower().endswith(suffixes)
    if entry.modality.typed and isinstance(value, str) and not is_file and not (exists(path) and path.is_dir()):
        return _read(_Reader(_typed(value, entry), entry, typed=True))
    if not exists(path):
        raise DataError(f"--input {entry.name}={plain(str(value))}: there is no such file or folder")
    if path.is_file() and not is_file:
        raise DataError(
            f"{path} cannot be read as {with_article(entry.modality.noun)}, which {entry.name} needs: "
            f"its name ends with none of {', '.join(suffixes)}"
        )
    return from_path(stack, entry, path)


def from_path(
    stack: ExitStack, entry: Entry, path: Path, view: View = EVERYTHING, *, splits: bool = False
) -> tuple[list[Input], list[str]]:
    """The inputs in a file, a folder or a zip, in natural order of their names, and notes.

    With `splits`, those in the folders of a held-out split where there are such folders.
    """
    kinds = Kinds({entry.spec.modality: entry.modality})
    with readable(path):
        if path.suffix.lower() in ARRAYS and path.is_file():
            return from_samples(entry, arrays.open_arrays(path, kinds)["train"]), []
        found = stack.enter_context(files.opened(path, kinds)).through(view)
    if not found.names:
        units = f"{entry.modality.units} ({', '.join(entry.modality.suffixes)})"
        raise DataError("\n".join([f"{path} has no {units}, which {entry.name} needs", *found.notes[:1]]))
    several = path.is_dir() or path.suffix.lower() == ".zip"
    found = found._replace(names=held_out(found.names) if splits else found.names)
    inputs, notes = _read(_Reader(found, entry, f"{path}: " if several else str(path).removesuffix(path.name)))
    return inputs, [*(f"{plain(path.name)}: {note}" for note in found.notes), *notes]


def held_out(names: Iterable[str]) -> list[str]:
    """The files in folders of the first held-out split that there is; all files where there is none."""
    every = list(names)
    for split in HELD_OUT:
        if found := [name for name in every if split in map(_split_of, split_name(name)[:-1])]:
            return found
    return every


def _split_of(folder: str) -> str:
    read = read_name(folder)
    return read.split if read is not None and read.clear else ""


def _typed(text: str, entry: Entry) -> Files:
    """A text as the only file of a folder."""
    content = text.encode("utf-8", "surrogatepass")
    return Files([f"text{entry.modality.typed}"], entry.spec.modality, lambda _: io.BytesIO(content))


def _read(reader: _Reader) -> tuple[list[Input], list[str]]:
    inputs: list[Input] = []
    conversions: dict[str, str] = {}
    for name in reader.files.names:
        found, conversion = reader.inputs(name, len(inputs))
        inputs += found
        conversions.setdefault(conversion, name)
    conversions.pop("none", None)
    shown = {how: "" if reader.typed else f" ({plain(name)})" for how, name in conversions.items()}
    return inputs, [f"{reader.entry.name}: {how}{example}" for how, example in shown.items()]


class _Reader:
    """Reads the files of an entry, and keeps the samples of the last one: a file may hold many."""

    def __init__(self, found: Files, entry: Entry, where: str = "", *, typed: bool = False) -> None:
        self.files, self.entry, self.where, self.typed = found, entry, where, typed
        self._last: tuple[str, list[Values]] = "", []

    def inputs(self, name: str, start: int) -> tuple[list[Input], str]:
        """The samples of a file, of which the first is number `start`, and how they are converted."""
        modality, spec = self.entry.modality, self.entry.spec
        scans = self._try(name, lambda file: list(modality.scan(file, name)))
        if not scans:
            raise self._damaged(name, f"it has no {modality.noun}")
        if self.entry.whole:
            spec = modality.whole(scans, spec)
        count = modality.count(scans, spec)

        def load(part: int) -> Callable[[], Tensor]:
            return lambda: self._load(name, part, start + part, spec)

        stem, dot, suffix = name.rpartition(".")
        names = [f"{stem}-{part:06d}{dot}{suffix}" for part in range(count)] if count > 1 else [name]
        found = [Input("" if self.typed else one, spec, load(part)) for part, one in enumerate(names)]
        return found, modality.conversion(scans, spec)

    def _load(self, name: str, part: int, number: int, spec: Spec) -> Tensor:
        if self._last[0] != name:
            self._last = name, self._try(name, lambda file: list(self.entry.modality.read(file, name, spec)))
        if part >= len(self._last[1]):
            raise self._damaged(name, f"it has fewer {self.entry.modality.units} than it seemed at first")
        stored, expected = self._last[1][part], self.entry.modality.stored(spec)[1]
        if stored.shape != expected:
            is_, needed = ("x".join(map(str, shape)) for shape in (stored.shape, expected))
            raise self._damaged(name, f"it is of {is_} and the data that the generator was trained on of {needed}")
        return self.entry.decoded(torch.from_numpy(stored.copy())[None], number, spec)

    def _try(self, name: str, function: Callable[[IO[bytes]], T]) -> T:
        try:
            with self.entry.modality.strict(), self.files.open(name) as file:
                return function(file)
        except OSError as error:
            if error.filename is not None:  # the system's, and no decoder's
                raise StorageError(f"{error.filename} cannot be read: {error.strerror}") from error
            raise self._damaged(name, error) from error
        except Exception as error:  # decoders can raise any exception on hostile bytes
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, reason: Any) -> DataError:
        entry = self.entry
        text = plain(" ".join(str(reason).split()) or type(reason).__name__)
        if self.typed:
            return DataError(f"--input {entry.name}: the text cannot be read: {text}")
        noun = with_article(entry.modality.noun)
        return DataError(f"{self.where}{plain(name)} cannot be read as {noun}, which {entry.name} needs: {text}")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns errors of the system in the block into DataError for a missing path and StorageError for all others."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{error.filename or path}: there is no such file or folder") from error
    except OSError as error:
        raise StorageError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
