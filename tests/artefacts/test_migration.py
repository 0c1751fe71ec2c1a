"""Files of earlier versions are read with current names, and one line says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aigc_zoo.artefacts import checkpoint, migration
from aigc_zoo.artefacts.migration import RenamedOption
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.bench.results import read_results
from aigc_zoo.errors import DataError
from aigc_zoo.metrics.known import installed
from aigc_zoo.metrics.protocol import format_value

from .releases import FOLDER

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "zoo"
PATH = Path("run") / "card.json"
OLD: dict[str, Any] = {
    "schema": 1,
    "recipe": "zoo/dcgan.digits",
    "options": {"average": 0.999, "critic_lr": 3e-4, "critic_turns": 1, "generator.width": 4},
    "run": {"metrics": "fid, spread,modes", "until": "spread-zoo-grey28 >= 0.9", "steps": 10},
    "set_by": {"critic_lr": "preset", "metrics": "cli"},
}
NEW: dict[str, Any] = {
    "schema": 1,
    "recipe": "zoo/dcgan.digits",
    "options": {"ema": 0.999, "discriminator_lr": 3e-4, "discriminator_turns": 1, "generator.width": 4},
    "run": {"metrics": "fid,variance-ratio,modes", "until": "variance-ratio-zoo-grey28 >= 0.9", "steps": 10},
    "set_by": {"discriminator_lr": "preset", "metrics": "cli"},
}
OLD_LINE = {"step": 3, "name": "spread-zoo-grey28", "value": 0.5, "protocol": {"metric": "spread", "num": 192}}
NEW_LINE = {
    "step": 3,
    "name": "variance-ratio-zoo-grey28",
    "value": 0.5,
    "protocol": {"metric": "variance-ratio", "num": 192},
}


@pytest.fixture(autouse=True)
def _nothing_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "_announced", set())


def test_the_card_of_a_run() -> None:
    assert migration.card(OLD, PATH) == NEW
    assert migration.card(NEW, PATH) == NEW


def test_the_card_of_a_checkpoint_has_the_run_inside() -> None:
    assert migration.card({"step": 3, "run": OLD}, PATH) == {"step": 3, "run": NEW}


def test_the_card_of_a_generator() -> None:
    old = {**OLD, "kind": "generator", "makers": {"G": "averaged"}}
    assert migration.card(old, PATH) == {**NEW, "kind": "generator", "generators": {"G": "averaged"}}


def test_options_of_other_packages_keep_their_names() -> None:
    other = {**OLD, "recipe": "stranger/mine"}
    assert migration.card(other, PATH)["options"] == OLD["options"]
    assert migration.card({"recipe": "dcgan", "options": {"average": 0.5}}, PATH)["options"] == {"ema": 0.5}


def test_a_row_can_map_values_and_name_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (RenamedOption("decay", "lr_final", recipe="zoo/sngan", values={True: 0.0, False: None}),)
    monkeypatch.setattr(migration, "OPTIONS", rows)
    for recipe, old, new in (
        ("zoo/sngan", {"decay": True}, {"lr_final": 0.0}),
        ("zoo/sngan.digits", {"decay": False}, {"lr_final": None}),
        ("zoo/wgan", {"decay": True}, {"decay": True}),
    ):
        card = {"recipe": recipe, "options": old, "set_by": dict.fromkeys(old, "cli")}
        expected = {"recipe": recipe, "options": new, "set_by": dict.fromkeys(new, "cli")}
        assert migration.card(card, PATH) == expected


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"recipe": 1, "options": OLD["options"]},
        {"recipe": "zoo/x", "options": [], "set_by": "average", "run": 3},
        {"recipe": "zoo/x", "options": {"average": [0.5]}, "run": {"metrics": ["spread"], "until": 3}},
        {"run": []},
    ],
)
def test_cards_of_any_form_pass(odd: dict[str, Any]) -> None:
    assert migration.card(odd, PATH).keys() == odd.keys()


def test_extractors_without_a_network_are_components_now() -> None:
    old = {"name": "modes-points", "value": 7, "protocol": {"metric": "modes", "extractor": "points"}}
    old["protocol"] |= {"settings": {"of": 8}}
    found = migration.record(old, PATH)
    assert found["protocol"]["extractor"] == "zoo/points"
    assert format_value(found) == "7 of 8"
    pixels = {"metric": "duplicates", "extractor": "pixels", "extractor_sha256": "mean 8x8"}
    found = migration.record({"name": "duplicates-pixels", "value": 0.5, "protocol": pixels}, PATH)
    assert (found["protocol"]["extractor"], found["protocol"]["extractor_sha256"]) == ("zoo/pixels", "none")
    assert "of" not in found


def test_records_lines_and_results() -> None:
    assert migration.record(OLD_LINE, PATH) == NEW_LINE
    assert migration.record({"name": "spread", "seconds": [1.0]}, PATH) == {"name": "spread", "seconds": [1.0]}
    entry = {"name": "dcgan", "metric": "fid-zoo-grey28", "others": {"spread-zoo-grey28": 1, "kl-zoo-grey28": 2}}
    others = {"variance-ratio-zoo-grey28": 1, "kl-zoo-grey28": 2}
    assert migration.record(entry, PATH) == {**entry, "others": others}


def test_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    migration.card(NEW, PATH)
    assert capsys.readouterr().err == ""
    migration.card({**OLD, "run": {}}, PATH)
    migration.record(OLD_LINE, PATH)
    assert capsys.readouterr().err == (
        f"zoo: {PATH} was written by an earlier version; names were updated while reading "
        "(average is now ema, critic_lr is now discriminator_lr, critic_turns is now discriminator_turns)\n"
    )


def test_the_reading_functions_apply_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"average/G.weight": torch.ones(2), "nets/G.weight": torch.zeros(2)}
    checkpoint.save(path, tensors, {"step": 3, "run": OLD})
    before = path.read_bytes()
    found, card = checkpoint.load(path)
    assert found.keys() == {"ema/G.weight", "nets/G.weight"}
    assert card == checkpoint.read_card(path) == {"step": 3, "run": NEW}
    assert path.read_bytes() == before


def test_damage_is_found_before_anything_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    checkpoint.save(path, {"average/G.weight": torch.ones(2)}, {"step": 3, "run": OLD})
    path.write_bytes(path.read_bytes().replace(b"average/G", b"ema/GGGGG"))
    with pytest.raises(DataError, match="does not match its SHA-256"):
        checkpoint.load(path)


def test_an_older_run_directory_is_the_same_run(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "x") as run:
        run.begin(OLD)
        run.log({"step": 3, "terms": {"discriminator/loss": 1.0}})
        run.metric(OLD_LINE)
        run.held_out_path.write_text(json.dumps({"schema": 1, "metrics": [{"which": "final", **OLD_LINE}]}))
    with RunDirectory(tmp_path / "x") as run:
        assert run.begin(NEW) == "unfinished"
        assert run.read_card() == NEW
        assert read_lines(run.metrics_path) == [NEW_LINE]
        assert read_lines(run.log_path) == [{"step": 3, "terms": {"discriminator/loss": 1.0}}]
        assert run.read_held_out() == ({"which": "final", **NEW_LINE},)


def test_committed_results_have_current_metric_names() -> None:
    for path in sorted(RESULTS.glob("*.json")):
        names = [name for entry in read_results(path)["entries"] for name in (entry["metric"], *entry["others"])]
        assert {installed().short_name(name) for name in names} <= installed().values.keys()
        assert any(name.startswith("variance-ratio-") for name in names)


def test_a_real_file_of_the_first_release() -> None:
    tensors, card = checkpoint.load(FOLDER / "0.1.0.safetensors")
    assert {name.partition("/")[0] for name in tensors} == {"ema", "nets", "optimizer"}
    assert {"ema", "discriminator_lr"} <= card["run"]["options"].keys()
    assert card["run"]["set_by"]["discriminator_lr"] == "preset"
