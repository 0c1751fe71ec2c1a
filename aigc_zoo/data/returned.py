"""What the dataset of a plugin returned: the splits, or a ConfigError that names the dataset and what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from aigc_zoo.errors import ConfigError
from aigc_zoo.game import Samples, Spec
from aigc_zoo.plugins import Entry


def splits_of(entry: Entry, returned: Any) -> dict[str, Samples]:
    """The splits that a dataset returned, `{"train": Samples, ...}`. Raises ConfigError for anything else."""
    if not isinstance(returned, Mapping) or not all(isinstance(name, str) for name in returned):
        raise ConfigError(
            f"dataset {entry.id} of {entry.distribution} returned a {type(returned).__name__}, "
            "not a dict of Samples by the name of their split"
        )
    for name, samples in returned.items():
        if fault := next(_faults(samples), ""):
            raise ConfigError(f"dataset {entry.id} of {entry.distribution}: split {name}: {fault}")
    return dict(returned)


def _faults(samples: Any) -> Iterator[str]:
    """Sentences on what is not of the type that `Samples` documents."""
    if not isinstance(samples, Samples):
        yield f"a {type(samples).__name__}, not Samples"
        return
    for name, fits, words in _FIELDS:
        if not fits(getattr(samples, name)):
            yield f"{name} is not {words}"
    missing = [name for name in samples.groups[0] if name not in samples.fields and name != "label"]
    if missing:
        yield f"groups names {missing[0]}, which is not among its fields"


def _is_spec(value: Any) -> bool:
    """Whether it is a Spec with fields of their types, which a card stores as JSON."""
    return (
        isinstance(value, Spec)
        and isinstance(value.shape, tuple)
        and all(isinstance(side, int) and side > 0 for side in value.shape)
        and (value.range is None or _is_range(value.range))
        and isinstance(value.classes, int)
        and isinstance(value.dtype, str)
        and isinstance(getattr(torch, value.dtype, None), torch.dtype)
        and isinstance(value.modality, str)
        and isinstance(value.rate, int | float)
        and _are_texts(value.symbols)
        and _is_json(value.extra)
        and isinstance(value.entries, Mapping)
        and all(map(_is_spec, value.entries.values()))
    )


def _is_range(value: Any) -> bool:
    return _are_numbers(value) and len(value) == 2


def _is_json(value: Any) -> bool:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _are_fields(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def _are_groups(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(one, tuple) and one for one in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, int | float) for one in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("name", _is_text, "text"),
    ("split", _is_text, "text"),
    ("spec", _is_spec, "a Spec with positive sizes as its shape and fields of the documented types"),
    ("fields", _are_fields, "a dict of tensors"),
    ("decode", callable, "a function"),
    ("digest", _is_text, "text"),
    ("groups", _are_groups, "a tuple of tuples of names"),
    ("classes", _are_texts, "a tuple of texts"),
    ("frequencies", _are_numbers, "a tuple of numbers"),
    ("quantize", lambda value: value is None or callable(value), "a function or None"),
    ("extractor", _is_text, "text"),
    ("resize", _is_text, "text"),
    ("skipped", _are_texts, "a tuple of texts"),
    ("notes", _are_texts, "a tuple of texts"),
)
