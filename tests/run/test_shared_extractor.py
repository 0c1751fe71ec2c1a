"""Values whose extractor also trained the run: their protocols say so, and the user is warned."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.cli import main
from aigc_zoo.metrics.protocol import describe, differences
from aigc_zoo.run.shared_extractor import extractors_of_losses, marked, warning

RGB, GREY = "zoo/zoo-rgb32", "zoo/zoo-grey28"
CARD = {"slots": {"features": RGB}, "loss_extractors": [RGB]}


def record(name: str, extractor: str) -> dict[str, Any]:
    protocol = {
        "metric": name, "num": 2048, "shape": [3, 32, 32], "resize": "none", "extractor": extractor,
        "reference": "cifar10", "split": "train", "reference_num": 50_000, "weights": "raw", "seed": 0,
    }  # fmt: skip
    return {"name": f"{name}-{extractor.rpartition('/')[2]}", "value": 1.0, "protocol": protocol}


def test_the_card_says_which_extractors_losses_use() -> None:
    assert extractors_of_losses(CARD) == (RGB,)
    assert extractors_of_losses({"loss_extractors": [GREY, RGB]}) == (GREY, RGB)


@pytest.mark.parametrize(
    "card", [{}, {"loss_extractors": []}, {"loss_extractors": RGB}, {"loss_extractors": [1, None]}]
)
def test_a_card_without_them_or_with_something_else_names_none(card: dict[str, Any]) -> None:
    assert extractors_of_losses(card) == ()
    assert warning((RGB,), card) == ""
    assert marked([record("fid", RGB)], card) == [record("fid", RGB)]


def test_only_values_in_features_that_trained_the_run_are_marked() -> None:
    records = [record("fid", RGB), record("kid", RGB), record("fid", GREY)]
    before = copy.deepcopy(records)
    found = marked(records, CARD)
    assert records == before, "the records of the evaluator are not changed"
    assert [one["protocol"].get("trained_with") for one in found] == [True, True, None]
    assert found[2] == records[2]
    assert [{**one, "protocol": {**one["protocol"], "trained_with": True}} for one in records[:2]] == found[:2]


def test_a_marked_value_is_not_compared_with_one_of_another_run() -> None:
    (ours,), theirs = marked([record("fid", RGB)], CARD), record("fid", RGB)
    assert differences(ours["protocol"], theirs["protocol"]) == ["trained_with: True against not stated"]
    assert differences(ours["protocol"], marked([theirs], CARD)[0]["protocol"]) == []
    assert describe(ours["protocol"]).endswith(f"by {RGB}, which also trained it")
    assert describe(theirs["protocol"]).endswith(f"by {RGB}")


def test_the_warning_names_the_extractors_of_both() -> None:
    text = warning((RGB, RGB, GREY), CARD)
    assert text.startswith(f"this run is trained and evaluated with {RGB}: such values are too good")
    assert text.endswith("evaluate with another --extractor")
    assert warning((GREY,), CARD) == warning((), CARD) == ""
    assert warning((GREY, RGB), {"loss_extractors": [RGB, GREY]}).startswith(
        f"this run is trained and evaluated with {GREY} and {RGB}:"
    )


def test_training_and_evaluation_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "--generator.width",
        "4",
        "--discriminator.width",
        "4",
        "--steps",
        "1",
        "--batch-size",
        "4",
        "--eval-num",
        "150",
    ]
    out = tmp_path / "run"
    assert main(["train", "pix2pix", "--features", "zoo-rgb32", *small, "--out", str(out)]) == 0
    assert capsys.readouterr().err.count(f"trained and evaluated with {RGB}") == 1
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    marks = {line["name"]: line["protocol"].get("trained_with") for line in lines}
    assert marks["fid-zoo-rgb32"] is True
    assert marks["psnr"] is None
    held_out = json.loads((out / "held_out.json").read_text())["metrics"]
    assert {one["protocol"].get("trained_with") for one in held_out if one["name"].endswith("rgb32")} == {True}
    assert main(["eval", str(out), "--num", "150", "--metrics", "fid,psnr", "--json"]) == 0
    text, notes = capsys.readouterr()
    assert [one["protocol"].get("trained_with") for one in json.loads(text)["metrics"]] == [True, None]
    assert f"note: this run is trained and evaluated with {RGB}" in notes
    assert main(["eval", str(out), "--num", "150", "--metrics", "psnr"]) == 0
    assert "trained and evaluated" not in capsys.readouterr().err
