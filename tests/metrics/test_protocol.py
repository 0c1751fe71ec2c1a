"""Stamps on numbers: what differs is named, what JSON does to them does not count as a difference."""

from __future__ import annotations

import json

import pytest

from aigc_zoo.metrics.protocol import differences, protocol, same, versions_of

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


def test_equal_protocols_are_the_same_after_json_too() -> None:
    stamp = protocol(**STAMP)
    assert same(stamp, json.loads(json.dumps(stamp)))
    assert set(stamp) == set(STAMP)


@pytest.mark.parametrize("key", STAMP)
def test_every_part_counts(key: str) -> None:
    other = protocol(**(STAMP | {key: {"torch": "2.16.0"} if key == "versions" else "another"}))
    (difference,) = differences(protocol(**STAMP), other)
    assert difference.startswith(key)
    assert not same(protocol(**STAMP), other)


def test_differences_are_named_in_words() -> None:
    other = protocol(**(STAMP | {"num": 10_000, "versions": {"torch": "2.15.0", "numpy": "2.4.6"}}))
    assert differences(protocol(**STAMP), other) == [
        "num: 2048 against 10000",
        "versions.numpy: not stated against 2.4.6",
    ]


def test_none_is_not_the_same_as_not_stated() -> None:
    without = protocol(**STAMP)
    del without["seed"]
    assert differences(protocol(**(STAMP | {"seed": None})), without) == ["seed: None against not stated"]


def test_versions_of_what_is_missing_are_unknown() -> None:
    found = versions_of("no-such-distribution", "torch")
    assert found["no-such-distribution"] == "unknown"
    assert list(found) == ["aigc-zoo", "torch", "torch-fidelity", "numpy", "no-such-distribution"]
    assert all(found[name] != "unknown" for name in ("aigc-zoo", "torch", "torch-fidelity", "numpy"))
