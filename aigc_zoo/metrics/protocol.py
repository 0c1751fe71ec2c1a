"""The protocol of a number: all that must be equal before two of them may be compared."""

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
    """The stamp of one value, ready for JSON.

    num, reference_num   how many samples, and how many of the data's own they were compared with
    resize               how the data came to their size, "none" where they have it by nature
    extractor            full id of the network that looked at them; `extractor_sha256` is of its tensors
    weights              "averaged" or "raw" of a generator, "files" for images from elsewhere
    seed                 of the noise that the samples were made from, None for images from elsewhere
    settings             of the metric: subsets, splits, neighbours
    few                  said where --allow-few let it be measured on fewer samples than it needs
    """
    stamp = {
        "metric": metric,
        "num": num,
        "shape": list(shape),
        "resize": resize,
        "extractor": extractor,
        "extractor_sha256": extractor_sha256,
        "batch": batch,
        "reference": reference,
        "split": split,
        "reference_num": reference_num,
        "reference_digest": reference_digest,
        "weights": weights,
        "seed": seed,
        "versions": dict(versions),
    }
    return stamp | ({"settings": dict(settings)} if settings else {}) | ({"few": True} if few else {})


def versions_of(*distributions: str) -> dict[str, str]:
    """Installed versions of what every metric rests on, and of `distributions`; "unknown" for what is not installed."""
    found = {}
    for name in dict.fromkeys((*DISTRIBUTIONS, *distributions)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between two protocols, one line each as in "num: 2048 against 10000"; empty when all is equal."""
    flat_a, flat_b = _flat(a), _flat(b)
    return [
        f"{key}: {flat_a.get(key, 'not stated')} against {flat_b.get(key, 'not stated')}"
        for key in dict.fromkeys((*flat_a, *flat_b))
        if flat_a.get(key, _MISSING) != flat_b.get(key, _MISSING)
    ]


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether values of these protocols may stand side by side."""
    return not differences(a, b)


_MISSING = object()


def _flat(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings under dotted keys; tuples as the lists that JSON gives back."""
    flat: dict[str, Any] = {}
    for key, value in stamp.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": deep for inner, deep in _flat(value).items()}
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


# --- for people -------------------------------------------------------------------------------------------------------


def described(stamp: Mapping[str, Any]) -> str:
    """How a value was measured, in a line."""
    weights = stamp["weights"] if "files" in stamp["weights"] else f"{stamp['weights']} weights"
    parts = [f"{stamp['num']:,} samples ({weights})"]
    if stamp["reference"]:
        parts.append(f"against {stamp['reference_num']:,} of {stamp['reference']} {stamp['split']}")
    parts.append(f"by {stamp['extractor']}")
    text = " ".join(parts)
    if stamp["resize"] not in ("", "none"):
        text += f", resized: {stamp['resize']}"
    return f"{text}, fewer than it needs" if stamp.get("few") else text


def valued(record: Mapping[str, Any]) -> str:
    """A value with its interval, where it has one."""
    if record["value"] is None:
        return "not finite"
    text = f"{record['value']:.4g}"
    if record.get("interval"):
        low, high = record["interval"]
        text += f"  [{low:.4g}, {high:.4g}]"
    of = record["protocol"].get("settings", {}).get("of")
    return f"{text} of {of:,}" if of and record["name"].startswith("modes") else text
