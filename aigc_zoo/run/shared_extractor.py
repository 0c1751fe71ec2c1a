"""Extractors that a run is trained and evaluated with: its generator is better in their features than in others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

TRAINED_WITH = "trained_with"
"""Key of a protocol: true where a loss of the run used the extractor of the value, absent otherwise."""


def extractors_of_losses(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Full ids of the extractors that the losses of a run use, from its card or that of its generator."""
    found = card.get("loss_extractors", ())
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list | tuple) else ()


def marked(records: Iterable[Mapping[str, Any]], card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of an evaluation; the protocol of a value whose extractor also trained the run says so.

    Protocols that differ in this are unlike, so such a value is not compared with one of a run without that loss.
    """
    shared = extractors_of_losses(card)
    return [
        {**record, "protocol": {**record["protocol"], TRAINED_WITH: True}}
        if record["protocol"]["extractor"] in shared
        else dict(record)
        for record in records
    ]


def warning(extractors: Iterable[str], card: Mapping[str, Any]) -> str:
    """A sentence for the user where a run is trained with one of the extractors that evaluate it; "" otherwise."""
    shared = extractors_of_losses(card)
    both = " and ".join(dict.fromkeys(one for one in extractors if one in shared))
    return (
        f"this run is trained and evaluated with {both}: such values are too good, and not comparable with those "
        "of runs that are trained without it; evaluate with another --extractor"
        if both
        else ""
    )
