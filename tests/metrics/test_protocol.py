"""Protocols: differences are named, and a round trip through JSON makes none."""

from __future__ import annotations

import json

import pytest

from aigc_zoo.metrics.protocol import differences, protocol, versions_of

STAMP = {
    "metric": "fid",
    "num": 2048,
    "shape": (1, 28, 28),
    "resize": "none",
    "extractor": "zoo/zoo-grey28",
    "extractor_sha256": "0123456789abcdef",
    "batch": 64,
    "reference": "digits",
    "split": "train",
    "reference_num": 12_000,
    "reference_digest": "fedcba9876543210",
    "weights": "averaged",
    "seed": 0,
    "versions": {"torch": "2.15.0"},
}


def test_a_protocol_is_unchanged_by_json() -> None:
    stamp = protocol(**STAMP)
    assert not differences(stamp, json.loads(json.dumps(stamp)))
    assert set(stamp) == set(STAMP)


@pytest.mark.parametrize("key", STAMP)
def test_a_difference_in_any_entry_is_found(key: str) -> None:
    other = protocol(**(STAMP | {key: {"torch": "2.16.0"} if key == "versions" else "another"}))
    (difference,) = differences(protocol(**STAMP), other)
    assert difference.startswith(key)


def test_differences_name_both_values() -> None:
    other = protocol(**(STAMP | {"num": 10_000, "versions": {"torch": "2.15.0", "numpy": "2.4.6"}}))
    assert differences(protocol(**STAMP), other) == [
        "num: 2048 against 10000",
        "versions.numpy: not stated against 2.4.6",
    ]


def test_none_differs_from_a_missing_entry() -> None:
    without = protocol(**STAMP)
    del without["seed"]
    assert differences(protocol(**(STAMP | {"seed": None})), without) == ["seed: None against not stated"]


def test_the_version_of_a_missing_distribution_is_unknown() -> None:
    found = versions_of("no-such-distribution", "torch")
    assert found["no-such-distribution"] == "unknown"
    assert list(found) == ["aigc-zoo", "torch", "torch-fidelity", "numpy", "no-such-distribution"]
    assert all(found[name] != "unknown" for name in ("aigc-zoo", "torch", "torch-fidelity", "numpy"))
