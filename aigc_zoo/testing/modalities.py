"""Checks of modalities: their files, previews and HTML, and what passes between stored samples and those of a model."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aigc_zoo.data.modalities import modality as modality_of
from aigc_zoo.errors import DataError
from aigc_zoo.game import Draw, Spec
from aigc_zoo.modality import Adopted, Modality, Values, Writer, png
from aigc_zoo.options.signatures import signature_options
from aigc_zoo.testing.assertions import equal, joined, require, require_finite
from aigc_zoo.testing.checks import CheckFailed, check
from aigc_zoo.testing.fixtures import SEED, samples_like, seeded, uniform
from aigc_zoo.testing.markup import tags_of
from aigc_zoo.testing.subjects import ComponentSubject

_SUFFIX = re.compile(r"\.[a-z0-9][a-z0-9._+-]*")
ALIKE = ("shape", "dtype", "range", "symbols", "extra")
"""Fields of a spec that the files of its samples state again; `rate` does so up to the precision of the format."""

HOSTILE = '"><script src="https://example.org/x.js"></script><!--'


class Example(NamedTuple):
    """The samples of a modality that its method `example` returns: stored, and as a model reads them."""

    modality: Modality
    spec: Spec
    rows: Values
    samples: Tensor


def example_of(subject: ComponentSubject) -> Example:
    """The example of a modality. Raises CheckFailed for one that is not as the modality states."""
    modality = modality_of(subject.catalogue, subject.entry.id)
    try:
        spec, rows = modality.example()
    except NotImplementedError as error:
        raise CheckFailed(str(error)) from error
    require(isinstance(spec, Spec), f"`example` returns a {type(spec).__name__} before the samples, not a game.Spec")
    dtype, shape = modality.stored(spec)
    rows = np.asarray(rows)
    require(
        len(rows) > 2 and rows.shape[1:] == tuple(shape) and rows.dtype == np.dtype(dtype),
        f"`example` returns {rows.dtype} {rows.shape}, but at least three samples are stored as {dtype} {shape}",
    )
    require(len({row.tobytes() for row in rows}) == len(rows), "two of the samples that `example` returns are equal")
    return Example(modality, spec, rows, modality.decode(torch.from_numpy(rows.copy()), _draw(len(rows)), spec))


def _draw(rows: int, seed: int = SEED) -> Draw:
    """Uniform numbers for a row each, as `decode` draws them."""
    return lambda *shape: uniform(rows, *shape, seed=seed)


# --- what it states ---------------------------------------------------------------------------------------------------


@check("M-STATES", needs="cpu", kinds=("modality",))
def modality_states_what_it_is(subject: ComponentSubject) -> str:
    """It names its samples, suffixes in lower case with a dot, options of `plan` and a writer of each form; its default
    extractor and metrics are ids.
    """
    modality, spec, _, _ = example_of(subject)
    require(modality.noun and modality.units, "`noun` and `units` name one sample and several")
    require(modality.previews > 0, f"`previews` is {modality.previews}, not the number of samples in a preview")
    require(modality.one and modality.many, "`one` and `many` state no writer: files could not be written")
    for where, suffixes in (("suffixes", modality.suffixes), ("one", modality.one), ("many", modality.many)):
        for suffix in suffixes:
            require(_SUFFIX.fullmatch(suffix), f"`{where}` has {suffix!r}: write it in lower case with a dot")
    try:
        options = signature_options(modality.plan, ("scans",))
    except ValueError as error:
        raise CheckFailed(f"`plan`: {error}") from error
    lacking = [option.key for option in options if not option.help]
    require(not lacking, f"`plan` has no help text for {joined(lacking)}: write a line `name: text` in its docstring")
    extractor, metrics = modality.extractor(spec), modality.metrics(spec)
    require(isinstance(extractor, str), '`extractor` returns an id, or "" for none')
    require(
        isinstance(metrics, tuple) and all(isinstance(one, str) for one in metrics), "`metrics` returns a tuple of ids"
    )
    return f"reads {', '.join(modality.suffixes) or 'no files'}, writes {', '.join({**modality.one, **modality.many})}"


# --- files ------------------------------------------------------------------------------------------------------------


@check("M-FILES", needs="cpu", kinds=("modality",))
def files_are_read_as_they_were_written(subject: ComponentSubject) -> str:
    """Files of each suffix that it writes and reads give the samples that were written; a file of several samples may
    be the preview, or a sheet, which has another shape.
    """
    found = example_of(subject)
    modality, notes = found.modality, []
    for suffix, write in modality.one.items():
        if suffix in modality.suffixes:
            _require_round_trip(found, suffix, [write(sample, found.spec) for sample in found.samples])
            notes.append(suffix)
    preview = png(modality.preview(found.samples, found.spec))
    for suffix, write in modality.many.items():
        data = write(found.samples, found.spec)
        if suffix in modality.suffixes and data != preview:
            sheet = _require_round_trip(found, suffix, [data], sheets=True)
            notes.append(f"{suffix} of several samples{' as a sheet' if sheet else ''}")
    return f"round trip of {', '.join(notes)}" if notes else "it reads no file that it writes"


def _require_round_trip(found: Example, suffix: str, files: Sequence[bytes], sheets: bool = False) -> bool:
    """Raises CheckFailed unless the files are read as the example's samples. Returns True for a sheet."""
    spec, rows = read_files(found.modality, suffix, files)
    if sheets and spec.shape != found.spec.shape:
        return True
    for name in ALIKE:
        stated, read = getattr(found.spec, name), getattr(spec, name)
        written = f"of {suffix} files that it wrote"
        require(stated == read, f"{written}, `plan` states {name} {read!r:.80}, not {stated!r:.80}")
    require(abs(spec.rate - found.spec.rate) <= 0.05 * found.spec.rate, f"{suffix} files give the rate {spec.rate:g}")
    require(len(rows) == len(found.rows), f"{len(found.rows)} samples written to {suffix} are read as {len(rows)}")
    again = found.modality.decode(torch.from_numpy(rows), _draw(len(rows)), spec)
    one, two = (found.modality.quantize(x, found.spec) for x in (found.samples, again))
    require(equal(one, two), f"samples change when they are written to {suffix} and read: use a format without loss")
    return False


def read_files(modality: Modality, suffix: str, files: Sequence[bytes]) -> tuple[Spec, Values]:
    """The spec of some files, and their samples as they are stored. Raises CheckFailed as reading a dataset would."""
    names = [f"{number}{suffix}" for number in range(len(files))]
    scans = [list(modality.scan(io.BytesIO(data), name)) for data, name in zip(files, names, strict=True)]
    spec = modality.plan([scan for some in scans for scan in some])
    dtype, shape = modality.stored(spec)
    rows: list[Values] = []
    for data, name, some in zip(files, names, scans, strict=True):
        read = [np.asarray(one) for one in modality.read(io.BytesIO(data), name, spec)]
        count = modality.count(some, spec)
        yields = f"`read` yields {len(read)} of a {suffix} file"
        require(len(read) == count, f"`count` states {count} samples, and {yields}")
        for one in read:
            require(
                one.shape == tuple(shape) and one.dtype == np.dtype(dtype),
                f"`read` yields {one.dtype} {one.shape} from a {suffix} file, but `stored` states {dtype} {shape}",
            )
        rows += read
    return spec, np.stack(rows)


@check("M-DAMAGED", needs="cpu", kinds=("modality",))
def damaged_files_are_refused(subject: ComponentSubject) -> str | None:
    """Of a damaged file it raises an exception, or reads samples as it states them; an empty file has no sample."""
    found = example_of(subject)
    writers = {**found.modality.many, **found.modality.one}
    for suffix in found.modality.suffixes:
        whole = writers[suffix](found.samples[0], found.spec) if suffix in found.modality.one else bytes(range(256))
        noise = np.random.default_rng(SEED).bytes(500)
        for data in (b"\0", noise, whole[: len(whole) // 2], whole[:-1], noise + whole):
            try:
                read_files(found.modality, suffix, [data])
            except CheckFailed:
                raise
            except Exception:  # the text of any exception is the reason that the user reads
                continue
        try:
            empty = list(found.modality.scan(io.BytesIO(), f"empty{suffix}"))
        except Exception:
            continue
        require(not empty, f"`scan` finds {len(empty)} samples in an empty {suffix} file")
    return None if found.modality.suffixes else "it reads no files"


@check("M-ADOPT", needs="cpu", kinds=("modality",))
def arrays_are_adopted_or_left(subject: ComponentSubject) -> str:
    """Arrays that are no samples of it are left (None) or refused with a DataError of three lines; those that it adopts
    decode to samples of the spec that it states.
    """
    found = example_of(subject)
    stream, adopted = np.random.default_rng(SEED), []
    for values in (
        found.rows,
        found.samples.numpy(),
        *(stream.integers(0, 256, (4, *shape), dtype=np.uint8) for shape in ((8, 8), (8, 8, 3), (1, 8, 8))),
        *(stream.uniform(-1, 1, (4, *shape)).astype(np.float32) for shape in ((2,), (7,), (3, 8, 8), (2, 3, 4, 5))),
        stream.integers(0, 9, (4, 5)),
    ):
        for kind in ("", "images", "arrays"):
            taken = _adopted(found.modality, values, kind)
            if taken is not None:
                _require_adopted(found.modality, taken, len(values))
                adopted.append(f"{values.dtype} {values.shape[1:]}")
    return f"it adopts {joined(dict.fromkeys(adopted))}" if adopted else "it adopts no arrays"


def _adopted(modality: Modality, values: Values, kind: str) -> Adopted | None:
    try:
        return modality.adopt({"train": values.copy()}, kind, "values.npy")
    except DataError as error:
        lines = len(str(error).splitlines())
        require(lines <= 3, f"`adopt` refuses an array with {lines} lines: {error}")
        return None


def _require_adopted(modality: Modality, taken: Adopted, count: int) -> None:
    rows = torch.from_numpy(np.ascontiguousarray(taken.values["train"]))
    require(len(rows) == count, f"`adopt` makes {len(rows)} samples of {count} rows")
    x = modality.decode(rows, _draw(len(rows)), taken.spec)
    require(
        tuple(x.shape[1:]) == taken.spec.shape,
        f"`adopt` states the shape {taken.spec.shape}, and `decode` returns {tuple(x.shape[1:])}",
    )


# --- samples ----------------------------------------------------------------------------------------------------------


@check("M-DECODE", needs="cpu", kinds=("modality",))
def decoded_samples_match_the_spec(subject: ComponentSubject) -> None:
    """`decode` returns samples of the shape, dtype and range of the spec; `quantize` keeps what is stored."""
    modality, spec, rows, x = example_of(subject)
    require(
        x.shape == (len(rows), *spec.shape) and str(x.dtype) == f"torch.{spec.dtype}",
        f"`decode` returns {x.dtype} {tuple(x.shape)}, but the spec states {spec.dtype} {(len(rows), *spec.shape)}",
    )
    if x.is_floating_point():
        require_finite(x, "a decoded sample")
    if spec.range is not None:
        low, high = spec.range
        require(low <= x.min() and x.max() <= high, f"decoded samples leave the range {spec.range}")
    stored = modality.quantize(x, spec)
    require(len(stored) == len(rows), f"`quantize` returns {len(stored)} rows for {len(rows)} samples")
    if stored.shape == rows.shape and str(stored.dtype) == f"torch.{rows.dtype}":
        require(equal(stored, torch.from_numpy(rows)), "`quantize` of decoded samples differs from the stored samples")
    require(len({row.numpy().tobytes() for row in stored}) == len(rows), "`quantize` makes different samples equal")


@check("M-PURE", needs="cpu", kinds=("modality",))
def methods_are_pure(subject: ComponentSubject) -> None:
    """Its methods are functions of their arguments, which they leave unchanged: they draw no random numbers but those
    of `draw`, and a row depends on no other row.
    """
    modality, spec, rows, x = example_of(subject)
    decode = partial(modality.decode, draw=_draw(len(rows)), spec=spec)
    calls: tuple[tuple[str, Tensor, Callable[[Tensor], Tensor]], ...] = (
        ("decode", torch.from_numpy(rows.copy()), decode),
        ("quantize", x.clone(), partial(modality.quantize, spec=spec)),
        ("preview", x.clone(), lambda x: _pixels(modality.preview(x, spec))),
        ("html", x.clone(), lambda x: _bytes("".join(modality.html(one, spec) for one in x).encode())),
        *((f"one[{suffix!r}]", x.clone(), _each(write, spec)) for suffix, write in modality.one.items()),
        *((f"many[{suffix!r}]", x.clone(), _all(write, spec)) for suffix, write in modality.many.items()),
    )
    for name, given, call in calls:
        before = given.clone()
        one, two = (seeded(call, given, seed=seed).clone() for seed in (1, 2))
        require(equal(given, before), f"`{name}` changes its argument: work on a copy")
        require(equal(one, two), f"`{name}` gives two results for the same samples: take random numbers from `draw`")
    alone = modality.decode(torch.from_numpy(rows[:1].copy()), lambda *shape: _draw(len(rows))(*shape)[:1], spec)
    require(equal(alone, x[:1]), "`decode` of a row depends on the other rows")
    alone = modality.quantize(x[:1], spec)
    require(equal(alone, modality.quantize(x, spec)[:1]), "`quantize` of a sample depends on the other samples")


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _pixels(image: Any) -> Tensor:
    require(isinstance(image, Image.Image), f"`preview` returns a {type(image).__name__}, not a Pillow image")
    return _bytes(png(image))


def _each(write: Writer, spec: Spec) -> Callable[[Tensor], Tensor]:
    return lambda x: _bytes(b"".join(write(one, spec) for one in x))


def _all(write: Writer, spec: Spec) -> Callable[[Tensor], Tensor]:
    return lambda x: _bytes(write(x, spec))


# --- for people -------------------------------------------------------------------------------------------------------


@check("M-PREVIEW", needs="cpu", kinds=("modality",))
def previews_have_constant_sizes(subject: ComponentSubject) -> str:
    """A preview is an image, of equal size for equally many samples, from one sample to `previews`."""
    modality, spec, _, x = example_of(subject)
    sizes = []
    for count in sorted({1, 3, modality.previews}):
        rows = x[torch.arange(count) % len(x)]
        others = [
            rows[torch.arange(count - 1, -1, -1)],
            x[:1].expand_as(rows).clone(),
            *([samples_like(spec, count)] if x.is_floating_point() else []),
        ]
        image = modality.preview(rows, spec)
        require(isinstance(image, Image.Image), f"`preview` returns a {type(image).__name__}, not a Pillow image")
        require(image.mode in ("L", "RGB"), f"`preview` returns an image of mode {image.mode}: use L or RGB")
        for size in (modality.preview(one, spec).size for one in others):
            require(
                size == image.size,
                f"previews of {count} samples have sizes {image.size} and {size}, so that they cannot be animated",
            )
        sizes.append(f"{image.width}x{image.height} of {count}")
    return ", ".join(sizes)


@check("M-HTML", needs="cpu", kinds=("modality",))
def html_makes_no_request(subject: ComponentSubject) -> None:
    """The HTML of a sample makes no request and runs no script, all its tags are closed, and the text of `symbols` is
    escaped.
    """
    modality, spec, _, x = example_of(subject)
    for sample in x:
        tags_of(modality.html(sample, spec))
    if spec.symbols:
        hostile = replace(spec, symbols=tuple(symbol and HOSTILE for symbol in spec.symbols))
        for sample in x:
            plain, other = tags_of(modality.html(sample, spec)), tags_of(modality.html(sample, hostile))
            require(plain == other, "`html` does not escape the text of symbols: use html.escape")
