"""What a plugin says of one kind of sample.

A modality is a component of kind "modality" whose target, called without arguments, returns a `Modality`. Everything
that the core does with a sample goes through its methods, whether the plugin is the zoo's or a stranger's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from html import escape
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from aigc_zoo.errors import DataError
from aigc_zoo.game import Draw, Spec

Values = np.ndarray[Any, Any]

Writer = Callable[[Tensor, Spec], bytes]
"""The content of a file, for one sample (*spec.shape) or for several (N, *spec.shape), as a model generates them."""


class Adopted(NamedTuple):
    """Arrays by split as a modality stores them, (N, ...), and the spec of their samples."""

    values: Mapping[str, Values]
    spec: Spec


class Modality:
    """One kind of sample. The methods are pure functions; a subclass overrides what differs from plain arrays.

    noun      name of one sample in messages
    units     name of several samples in messages, progress bars and logs
    suffixes  of the files that hold such samples, in lower case
    previews  number of samples in a preview
    rank      of modalities that read the same files, the zoo's own with the highest rank reads them by default
    resizing  the method of `resize`, for the protocols of metrics
    typed     the suffix of the file whose content a text on a command line is; "" where samples are not typed

    The parameters of `plan` after its first are options of the data, `--data.NAME VALUE` on the command line.
    """

    noun: ClassVar[str] = "sample"
    units: ClassVar[str] = "samples"
    suffixes: ClassVar[tuple[str, ...]] = ()
    previews: ClassVar[int] = 64

    rank: ClassVar[int] = 0
    resizing: ClassVar[str] = ""
    typed: ClassVar[str] = ""

    # --- from files to stored samples ---------------------------------------------------------------------------------

    def scan(self, file: IO[bytes], name: str) -> Iterator[Any]:
        """What `plan` needs to know of the samples in a file, from its header where that is enough.

        Raises any exception for a damaged file; its text is the reason that the user reads.
        """
        raise NotImplementedError(f"{name}: {self.units} are not read from files")

    def plan(self, scans: Sequence[Any]) -> Spec:
        """The spec that all samples of a dataset are converted to, from the scans of all its files."""
        raise NotImplementedError(f"{self.units} are not read from files")

    def whole(self, scans: Sequence[Any], spec: Spec) -> Spec:
        """The spec with which a file is read at its own size, as an input of networks that take any size: `spec`, that
        of the data, with other sides. By default samples have no size of their own.
        """
        return spec

    def conversion(self, scans: Sequence[Any], spec: Spec) -> str:
        """How samples are changed to fit the spec, for the protocols of metrics; "none" where they are not."""
        return "none"

    def alike(self, spec: Spec, reference: Spec) -> Spec:
        """The spec to read files with that are compared with samples of `reference`; `spec` is the plan for them."""
        return spec

    def notes(self, scans: Sequence[Any], spec: Spec) -> Sequence[str]:
        """Sentences for the user on what samples lose when they are read, such as channels or the ends of lines."""
        return ()

    def stored(self, spec: Spec) -> tuple[str, tuple[int, ...]]:
        """The numpy dtype and the shape in which one sample is stored."""
        return spec.dtype, spec.shape

    def count(self, scans: Sequence[Any], spec: Spec) -> int:
        """The number of samples that `read` yields for a file with these scans."""
        return len(scans)

    def read(self, file: IO[bytes], name: str, spec: Spec) -> Iterator[Values]:
        """The samples of a file as they are stored. Raises any exception for a damaged file."""
        raise NotImplementedError(f"{name}: {self.units} are not read from files")

    def strict(self) -> AbstractContextManager[None]:
        """Entered while files are read, in all threads: turns warnings of decoders into errors, for example."""
        return nullcontext()

    def resize(self, rows: Tensor, size: int) -> Tensor:
        """Stored samples (N, ...) with sides of `size`. Raises ValueError where that has no meaning."""
        raise ValueError(f"{self.units} have no size")

    def part(self, number: int, of: int) -> Modality:
        """The modality of part `number` of files that hold `of` samples side by side.

        Raises ValueError where samples do not lie side by side.
        """
        raise ValueError(f"{self.units} do not lie side by side in one file")

    def adopt(self, arrays: Mapping[str, Values], kind: str, where: str) -> Adopted | None:
        """Arrays (N, ...) by split as samples of this modality; None where they are something else.

        kind   what the file calls them: "images", "arrays", or "" for another name
        where  the path, for messages

        Raises DataError, with the fix, for arrays that are such samples in all but one respect.
        """
        return None

    def example(self) -> tuple[Spec, Values]:
        """A small spec, and at least three different samples (N, ...) as they are stored, for conformance checks.

        Files that are written from these samples are read as the same samples again.
        """
        raise NotImplementedError("it has no method `example`, which returns a spec and stored samples for checks")

    # --- between stored samples and those of a model ------------------------------------------------------------------

    def decode(self, rows: Tensor, draw: Draw, spec: Spec) -> Tensor:
        """Stored rows (N, ...) as a model reads them, (N, *spec.shape) within `spec.range`, on the device of the rows.

        Random numbers, such as the position of a crop, come from `draw`.
        """
        return rows.to(torch.float32) if rows.is_floating_point() else rows

    def quantize(self, x: Tensor, spec: Spec) -> Tensor:
        """A model's samples (N, *spec.shape) with the precision of files, which is what metrics compare."""
        return x

    # --- for people ---------------------------------------------------------------------------------------------------

    @property
    def one(self) -> Mapping[str, Writer]:
        """Writers of a file per sample by suffix; the first is the default."""
        return {".npy": npy}

    @property
    def many(self) -> Mapping[str, Writer]:
        """Writers of one file for all samples by suffix; the first is the default."""
        return {".npy": npy, ".png": lambda x, spec: png(self.preview(x, spec))}

    def preview(self, x: Tensor, spec: Spec) -> Image.Image:
        """One image of samples (N, *spec.shape); the previews of a run have equal sizes, so that they can be animated.

        Of plain arrays it shows the distribution of each value over the samples.
        """
        return distributions(x)

    def html(self, x: Tensor, spec: Spec) -> str:
        """One sample (*spec.shape) as HTML that makes no request."""
        values = x.detach().cpu().flatten()
        numbers = ", ".join(f"{value:.4g}" for value in values[:16].tolist())
        return f"<code>{escape(numbers)}{', ...' if len(values) > 16 else ''}</code>"

    # --- for measurements ---------------------------------------------------------------------------------------------

    def extractor(self, spec: Spec) -> str:
        """The id of the extractor of data that state none, "" for none."""
        return ""

    def metrics(self, spec: Spec) -> tuple[str, ...]:
        """The metrics that are measured by default during training; the first one selects the best generator. Those
        that cannot be measured are left out.
        """
        return ()

    def evaluation(self, spec: Spec) -> tuple[str, ...]:
        """The metrics of `zoo eval` and, on the held-out split, of the end of a run.

        Metrics that compare the training split with the held-out one are measured at the end of a run only.
        """
        return self.metrics(spec)[:1]


def to_uint8(x: Tensor, spec: Spec) -> Tensor:
    """Values in `spec.range`, rounded and clamped to uint8. Raises DataError without a range."""
    if spec.range is None:
        raise DataError(f"samples of modality {spec.modality!r} without a range cannot be converted to pixels")
    low, high = spec.range
    return ((x.float() - low) / (high - low) * 255).round_().clamp_(0, 255).to(torch.uint8)


def from_uint8(pixels: Tensor, spec: Spec) -> Tensor:
    """uint8 pixels as float32 values in `spec.range`. Raises DataError without a range."""
    if spec.range is None:
        raise DataError(f"samples of modality {spec.modality!r} without a range are not made from pixels")
    low, high = spec.range
    # A product, since CUDA divides by a scalar through its reciprocal, which differs by a bit from the CPU.
    return pixels.to(torch.float32).mul_((high - low) / 255).add_(low)


def npy(x: Tensor, spec: Spec) -> bytes:
    """The values of samples as a .npy file."""
    target = io.BytesIO()
    np.save(target, x.detach().cpu().numpy(), allow_pickle=False)
    return target.getvalue()


def png(image: Image.Image) -> bytes:
    """An image as a PNG file without a date, so that equal images give equal bytes."""
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


_SIDE, _COLUMNS, _BINS = 480, 64, 120


def distributions(x: Tensor) -> Image.Image:
    """The distribution of each value over samples (N, ...): a column per value, at most 64, darker where more lie."""
    values = x.detach().cpu().double().flatten(1).numpy()
    values = values[:, np.linspace(0, values.shape[1] - 1, min(values.shape[1], _COLUMNS)).astype(int)]
    finite = np.abs(values[np.isfinite(values)])
    limit = 2.0 ** np.ceil(np.log2(max(1e-3, float(np.quantile(finite, 0.99))))) if finite.size else 1.0
    canvas = np.full((_BINS, values.shape[1]), 255, np.uint8)
    for column in range(values.shape[1]):
        counts, _ = np.histogram(values[:, column], _BINS, (-limit, limit))
        canvas[::-1, column] = 255 - 255 * np.sqrt(counts / max(1, counts.max()))
    image = Image.fromarray(canvas).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    ImageDraw.Draw(image).line((0, _SIDE // 2, _SIDE, _SIDE // 2), fill=200)
    return image
