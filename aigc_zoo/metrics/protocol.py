"""Protocols of metric values: everything that must be equal before two values may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

DISTRIBUTIONS = ("aigc-zoo", "torch", "torch-fidelity", "numpy")


def protocol(
    *,
    metric: str,
    num: int,
    shape: tuple[int, ...],
    resize: str,
    extractor: str,
    extractor_sha256: str,
    batch: int,
    reference: str,
    split: str,
    reference_num: int,
    reference_digest: str,
    weights: str,
    seed: int | None,
    versions: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
    few: bool = False,
) -> dict[str, Any]:
    """The protocol of one value, ready for JSON.

    num, reference_num   number of samples, and of reference samples they are compared with
    resize               how the dataset was resized, "none" if it was not
    extractor            full id of the extractor, "" for none; `extractor_sha256` is the digest of its tensors
    weights              "averaged" or "raw" for a generator, "files" for images from elsewhere
    seed                 seed of the noise, None for images from elsewhere
    settings             settings of the metric: subsets, splits, neighbours
    few                  present if --allow-few admitted fewer samples than the metric needs

    An evaluation adds `trained_with`, true, where a loss of the run used the extractor.
    """
    stamp = {
        "metric": metric, "num": num, "shape": list(shape), "resize": resize, "extractor": extractor,
        "extractor_sha256": extractor_sha256, "batch": batch, "reference": reference, "split": split,
        "reference_num": reference_num, "reference_digest": reference_digest, "weights": weights, "seed": seed,
        "versions": dict(versions),
    }  # fmt: skip
    return stamp | ({"settings": dict(settings)} if settings else {}) | ({"few": True} if few else {})


def versions_of(*distributions: str) -> dict[str, str]:
    """Versions of the distributions that all metrics use, and of `distributions`; "unknown" if not installed."""
    found = {}
    for name in dict.fromkeys((*DISTRIBUTIONS, *distributions)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The differences between two protocols, one line each, such as "num: 2048 against 10000"; empty if equal."""
    flat_a, flat_b = _flat(a), _flat(b)
    return [
        f"{key}: {flat_a.get(key, 'not stated')} against {flat_b.get(key, 'not stated')}"
        for key in dict.fromkeys((*flat_a, *flat_b))
        if flat_a.get(key, _MISSING) != flat_b.get(key, _MISSING)
    ]


_MISSING = object()


def _flat(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested mappings to dotted keys; tuples become lists, as JSON returns them."""
    flat: dict[str, Any] = {}
    for key, value in stamp.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": deep for inner, deep in _flat(value).items()}
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


# --- formatting -------------------------------------------------------------------------------------------------------


def describe(stamp: Mapping[str, Any]) -> str:
    """One line that says how a value was measured."""
    weights = stamp["weights"] if "files" in stamp["weights"] else f"{stamp['weights']} weights"
    parts = [f"{stamp['num']:,} samples ({weights})"]
    if stamp["reference"]:
        parts.append(f"against {stamp['reference_num']:,} of {stamp['reference']} {stamp['split']}")
    if stamp["extractor"]:
        parts.append(f"by {stamp['extractor']}")
    text = " ".join(parts)
    if stamp.get("trained_with"):
        text += ", which also trained it"
    if stamp["resize"] not in ("", "none"):
        text += f", resized: {stamp['resize']}"
    return f"{text}, fewer than needed" if stamp.get("few") else text


def format_value(record: Mapping[str, Any]) -> str:
    """The value of a record, with its interval and the value of real samples if it has them."""
    if record["value"] is None:
        return "not finite"
    text = f"{record['value']:.4g}"
    if record.get("interval"):
        low, high = record["interval"]
        text += f"  [{low:.4g}, {high:.4g}]"
    if record.get("of"):
        text += f" of {record['of']:,}"
    data = record.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("value"), int | float):
        text += f"  (data: {data['value']:.4g})"
    return text
