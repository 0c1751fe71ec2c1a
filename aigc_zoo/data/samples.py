"""Constructors of `Samples` for images, points and arrays, for the datasets of the zoo and of other packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.errors import DataError
from aigc_zoo.game import Batch, Draw, Samples, Spec
from aigc_zoo.modality import Modality, to_uint8

Decode = Callable[[Mapping[str, Tensor], Draw], Batch]

HASH_BLOCK = 1 << 24
"""Bytes that are hashed at a time."""


def image_samples(
    name: str,
    split: str,
    images: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    extractor: str = "",
    digest: str = "",
) -> Samples:
    """Images (N, C, H, W) uint8, decoded to float32 in [-1, 1]; labels (N,) int64, decoded to one-hot float32.

    `classes` are the names of the labels, by default "0", "1", ... A known `digest` saves the hashing.
    """
    if images.ndim != 4 or images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 of shape (N, C, H, W), not {_kind(images)}")
    spec = Spec(shape=tuple(images.shape[1:]))
    found = _samples(name, split, spec, images, labels, classes, extractor, digest, scale=2 / 255, shift=-1.0)
    return replace(found, quantize=partial(to_uint8, spec=spec))


def point_samples(
    name: str,
    split: str,
    points: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    bounds: tuple[float, float] | None = None,
    digest: str = "",
) -> Samples:
    """Points (N, 2), float32. Their range is also that of scatter plots, so that the plots of a run are comparable.

    Without `bounds` it is the range of the values, extended by half of its width on each side.
    """
    if points.ndim != 2 or points.shape[1] != 2 or not points.is_floating_point():
        raise ValueError(f"points must be floating-point numbers of shape (N, 2), not {_kind(points)}")
    if bounds is None:
        low, high = float(points.min()), float(points.max())
        margin = (high - low) / 2 or 1.0
        bounds = low - margin, high + margin
    spec = Spec(shape=(2,), range=bounds, modality="points")
    return _samples(name, split, spec, points, labels, classes, "", digest)


def array_samples(
    name: str,
    split: str,
    spec: Spec,
    values: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    digest: str = "",
) -> Samples:
    """Arrays of any shape (N, *spec.shape), decoded unchanged; floating-point numbers become float32."""
    return _samples(name, split, spec, values, labels, classes, "", digest)


def with_entries(samples: Samples, *, paired: bool = True, **entries: Samples) -> Samples:
    """The samples with more entries, each the "real" entry of other samples: the source of a translation, for example.

    paired  row i of every entry belongs to row i of the samples; otherwise the entries are groups of their own, from
            which rows are drawn independently

    Raises DataError for paired entries of different lengths.
    """
    fields, specs, digests = dict(samples.fields), dict(samples.spec.entries), [samples.digest]
    groups = list(samples.groups)
    for name, other in entries.items():
        if paired and len(other) != len(samples):
            raise DataError(
                f"{samples.name}: {name} has {len(other):,} samples and real has {len(samples):,}: pairs need as many"
            )
        fields[name], specs[name] = other.fields["real"], other.spec
        digests += [name, other.digest]
        groups = [(*groups[0], name), *groups[1:]] if paired else [*groups, (name,)]
    decoders = {name: other.decode for name, other in entries.items()}
    return replace(
        samples,
        spec=replace(samples.spec, entries=specs),
        fields=fields,
        groups=tuple(groups),
        decode=partial(_decode_entries, samples.decode, decoders),
        digest=hashlib.sha256(" ".join(digests).encode()).hexdigest(),
    )


def _decode_entries(
    decode: Decode, others: Mapping[str, Decode], rows: Mapping[str, Tensor], draw: Draw
) -> dict[str, Tensor]:
    batch = dict(decode(rows, draw))
    return batch | {name: other({"real": rows[name]}, draw)["real"] for name, other in others.items()}


def samples_of(
    modality: Modality,
    name: str,
    split: str,
    spec: Spec,
    values: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    digest: str = "",
) -> Samples:
    """Stored samples (N, ...) of any modality, with labels (N,) int64."""
    found = _samples(name, split, spec, values, labels, classes, "", digest)
    return replace(
        found,
        decode=partial(_decode_by, modality, found.spec),
        quantize=partial(modality.quantize, spec=found.spec),
    )


def _decode_by(modality: Modality, spec: Spec, rows: Mapping[str, Tensor], draw: Draw) -> Batch:
    real = modality.decode(rows["real"], draw, spec)
    return {"real": real, "label": one_hot(rows["label"], spec.classes)} if spec.classes else {"real": real}


def spec_from(stored: Mapping[str, Any]) -> Spec:
    """A Spec from its JSON form."""
    bounds = stored["range"]
    values = {**stored, "shape": tuple(stored["shape"]), "range": tuple(bounds) if bounds is not None else None}
    values["symbols"] = tuple(stored.get("symbols", ()))
    values["entries"] = {name: spec_from(entry) for name, entry in stored.get("entries", {}).items()}
    return Spec(**values)


def digest_of(fields: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all fields, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(fields):
        field = fields[name]
        total.update(f"{name} {field.dtype} {tuple(field.shape)}\n".encode())
        rows = max(1, HASH_BLOCK // max(1, field[:1].nbytes))
        for first in range(0, len(field), rows):
            block = field[first : first + rows]
            total.update(block.contiguous().numpy().data)
    return total.hexdigest()


def class_frequencies(labels: Tensor, classes: int) -> tuple[float, ...]:
    """The relative frequency of each class."""
    counts = torch.bincount(labels, minlength=classes).tolist()
    return tuple(count / len(labels) for count in counts)


def _samples(
    name: str,
    split: str,
    spec: Spec,
    real: Tensor,
    labels: Tensor | None,
    classes: Sequence[str],
    extractor: str,
    digest: str,
    scale: float = 1.0,
    shift: float = 0.0,
) -> Samples:
    if not len(real):
        raise DataError(f"{name}: split {split} has no samples")
    fields = {"real": real}
    names: tuple[str, ...] = ()
    more: dict[str, Any] = {"groups": (("real",),)}
    if labels is not None:
        names = _names(name, real, labels, classes)
        fields["label"] = labels
        more = {"classes": names, "frequencies": class_frequencies(labels, len(names))}
        spec = Spec(**{**vars(spec), "classes": len(names)})
    return Samples(
        name=name,
        split=split,
        spec=spec,
        fields=fields,
        decode=partial(_decode, classes=len(names), scale=scale, shift=shift),
        digest=digest or digest_of(fields),
        extractor=extractor,
        **more,
    )


def _names(name: str, real: Tensor, labels: Tensor, classes: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, after the labels were validated."""
    if labels.shape != (len(real),) or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 of shape ({len(real)},), not {_kind(labels)}")
    low, high = int(labels.min()), int(labels.max())
    names = tuple(classes) or tuple(str(label) for label in range(high + 1))
    if low < 0 or high >= len(names):
        raise DataError(f"{name}: labels from {low} to {high} do not fit {len(names)} classes")
    return names


def _decode(rows: Mapping[str, Tensor], draw: Draw, *, classes: int, scale: float, shift: float) -> Batch:
    """Stored rows as a batch's entries: "real", and "label" where there are classes."""
    real = rows["real"]
    if scale != 1.0:
        # A product, since CUDA divides by a scalar through its reciprocal, which differs by a bit from the CPU.
        real = real.to(torch.float32).mul_(scale).add_(shift)
    elif real.is_floating_point():
        real = real.to(torch.float32)
    if not classes:
        return {"real": real}
    return {"real": real, "label": one_hot(rows["label"], classes)}


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (N,) as float32 rows (N, classes); torch's own function would synchronize with the device."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).to(torch.float32)


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
