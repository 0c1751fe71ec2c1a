"""`zoo bench` on the command line: all installed recipes, stored cells, comparisons and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aigc_zoo.bench import cells
from aigc_zoo.bench.comparison import compared, condition
from aigc_zoo.bench.environment import busy, environment
from aigc_zoo.bench.quality import axes_of, matrix_cells, quality_cells
from aigc_zoo.bench.results import ENVIRONMENT, read_results, write_results
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.metrics.known import installed
from aigc_zoo.plugins import catalogue

THIRD_PARTY = '''
"""A complete third-party plugin: one loss, one recipe."""
from typing import Annotated, Any

import torch.nn.functional as F

from aigc_zoo.game import Adversarial, adam
from aigc_zoo.two_player import two_player
from aigc_zoo.spec import Component, Slot, hookimpl

ZOO_API = 1


@hookimpl
def zoo_components():
    yield Component(kind="loss", name="soft", target=f"{__name__}:soft", summary="softplus of both logits")
    yield Component(kind="recipe", name="mine", target=f"{__name__}:mine", summary="a third-party recipe")


def soft():
    return Adversarial(lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), lambda f, r: F.softplus(-f).mean())


def mine(
    *,
    generator: Annotated[Any, Slot("generator")] = "vanilla",
    discriminator: Annotated[Any, Slot("discriminator")] = "vanilla",
    loss: Annotated[Any, Slot("loss")] = "soft",
):
    """A loss of its own with first-party networks."""
    return two_player(generator, discriminator, loss, latent=8, optimizer=adam(1e-3), batch_size=16, images=320)
'''


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "third_party.py"
    path.write_text(THIRD_PARTY)
    return path


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 images with one bright dot each."""
    rng = np.random.default_rng(0)
    images = np.zeros((200, 28, 28, 1), np.uint8)
    for image, (y, x) in zip(images, rng.integers(4, 24, (200, 2)), strict=True):
        image[y - 3 : y + 3, x - 3 : x + 3] = 255
    path = tmp_path_factory.mktemp("data") / "dots.npz"
    np.savez(path, images=images)
    return path


def run(capsys: pytest.CaptureFixture[str], code: int, *words: object) -> tuple[str, str]:
    exit_code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert exit_code == code, err
    return out, err


def write_result(path: Path, entries: list[dict[str, Any]], kind: str = "speed", **environment_changes: Any) -> Path:
    write_results(path, kind, entries, {**environment(), **environment_changes}, {})
    return path


def times(name: str, scale: float, rounds: int = 40, baseline: str = "y") -> dict[str, Any]:
    seconds = [scale * (0.01 + 0.0001 * (number % 7)) for number in range(rounds)]
    relative = [scale * (2 + 0.02 * (number % 5)) for number in range(rounds)]
    return {"name": name, "group": "g", "seconds": seconds, "relative": relative, "baseline": baseline}


# --- speed ------------------------------------------------------------------------------------------------------------


def test_speed_of_recipes_including_a_third_party_one(
    capsys: pytest.CaptureFixture[str], third_party: Path, dots: Path, tmp_path: Path
) -> None:
    """The third-party plugin has no code for benchmarks."""
    path = tmp_path / "speed.json"
    words = ["--plugin", third_party, "bench", "speed", "mine", "vanilla", "--data", dots, "--seconds", 0.01]
    out, _ = run(capsys, 0, *words, "--only", "train_step or sampling", "--json", path)
    found = read_results(path)
    assert {(entry["group"], entry["name"]) for entry in found["entries"]} == {
        (group, name) for group in ("train-step/cpu", "sampling/cpu") for name in ("local/mine", "zoo/vanilla")
    }
    for entry in found["entries"]:
        assert len(entry["seconds"]) == len(entry["relative"]) >= 20
        assert entry["images_per_second"] > 0
    assert "terms" in found["entries"][0]
    assert set(ENVIRONMENT) <= set(found["environment"])
    assert "local/mine" in out
    run(capsys, 0, "report", path, "--out", tmp_path / "page.html")
    assert "local/mine" in (tmp_path / "page.html").read_text()


def test_data_checkpoints_and_start_up_are_measured(
    capsys: pytest.CaptureFixture[str], dots: Path, tmp_path: Path
) -> None:
    path = tmp_path / "speed.json"
    words = ["bench", "speed", "vanilla", "--data", dots, "--seconds", 0.01, "--json", path]
    run(capsys, 0, *words, "--only", "data or checkpoint")
    groups = {entry["group"] for entry in read_results(path)["entries"]}
    assert groups == {"data/cpu", "checkpoint"}


def test_a_recipe_without_its_data_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["bench", "speed", "vanilla", "--data", tmp_path / "none.npz", "--only", "train_step"]
    assert "left out" in run(capsys, 0, *words)[0]


# --- quality and the matrix -------------------------------------------------------------------------------------------

TINY = ["--images", 320, "--eval-num", 140, "--eval-every", 10, "--extractor", "zoo-grey28", "--seeds", 2]


def test_quality_trains_each_cell_once(
    capsys: pytest.CaptureFixture[str], third_party: Path, dots: Path, tmp_path: Path
) -> None:
    words = ["--plugin", third_party, "bench", "quality", "mine", "--data", dots, "--out", tmp_path / "out", *TINY]
    out, err = run(capsys, 0, *words, "--target", 1e9, "--json", tmp_path / "q.json")
    assert "2 cells, 2 of them to be trained" in err
    (entry,) = read_results(tmp_path / "q.json")["entries"]
    assert entry["name"] == "local/mine" or entry["name"] == "mine"
    assert entry["seeds"] == [0, 1]
    assert entry["metric"] == "fid-zoo-grey28"
    assert entry["final"]["std"] > 0
    assert (entry["seconds_to_target"], entry["images_to_target"], entry["reached"]) == (0, 0, 2)
    assert "final" in out
    again, err = run(capsys, 0, *words, "--target", 0)
    assert "2 cells, 0 of them to be trained" in err
    assert "target missed by most (0 of 2 reached it)" in again
    run(capsys, 0, "report", tmp_path / "q.json", "--out", tmp_path / "page.html")


def test_a_stopped_matrix_resumes(
    capsys: pytest.CaptureFixture[str], dots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench", "matrix", "vanilla", "--data", dots, "--out", tmp_path / "out", *TINY[:-2], "--seeds", 1]
    words += ["--generator", "vanilla,dcgan", "--discriminator", "vanilla", "--loss", "minimax,non-saturating"]
    words += ["--penalty", "none"]
    count, real = 0, cells.train

    def interrupted(*args: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return real(*args, **keywords)

    monkeypatch.setattr(cells, "train", interrupted)
    _, err = run(capsys, 130, *words)
    assert "3 cells are left" in err
    _, err = run(capsys, 0, *words, "--json", tmp_path / "m.json")
    assert "4 cells, 3 of them to be trained" in err
    assert count == 5
    entries = read_results(tmp_path / "m.json")["entries"]
    assert [entry["name"] for entry in entries] == [
        f"{generator} x vanilla x {loss} x none"
        for generator in ("vanilla", "dcgan")
        for loss in ("minimax", "non-saturating")
    ]


def test_an_incompatible_cell_has_a_reason(tmp_path: Path, dots: Path) -> None:
    """Images of 9 pixels are too small for the network, whose error message becomes the entry."""
    cell = cells.Cell("small", "dcgan", 0, tmp_path, data=str(dots), given={"size": 9}, images=64)
    record = cell.run(catalogue())
    assert "incompatible" in record
    assert cells.summary("small", [record], installed())["incompatible"] == record["incompatible"]
    assert cell.run(catalogue()) == record


def test_a_budget_of_seconds_becomes_steps_once(tmp_path: Path, dots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "steps_in", lambda prepared, seconds: 7)
    given = {"extractor": "zoo-grey28", "eval_num": 140}
    cell = cells.Cell("timed", "vanilla", 0, tmp_path, data=str(dots), given=given, seconds=60.0)
    assert cell._prepared(catalogue()).steps == 7
    monkeypatch.setattr(cells, "steps_in", lambda prepared, seconds: 99)
    assert cell._prepared(catalogue()).steps == 7


def test_the_matrix_has_all_installed_components(third_party: Path, tmp_path: Path) -> None:
    known = catalogue([third_party])
    axes = axes_of(known, "vanilla", {})
    assert "local/soft" in axes["loss"]
    assert len(axes["generator"]) == len(known.items("generator"))
    all_cells = matrix_cells(known, "vanilla", {"generator": ["vanilla"]}, 2, out=tmp_path)
    wanted = 2 * len(axes["discriminator"]) * len(axes["loss"]) * len(axes.get("penalty", [0]))
    assert len({cell.directory for cell in all_cells}) == len(all_cells) == wanted
    assert {cell.recipe for cell in quality_cells(known, (), 1, out=tmp_path)} >= {"local/mine", "zoo/dcgan"}
    with pytest.raises(UsageError, match="no such slot"):
        axes_of(known, "mine", {"penalty": ["gp"]})


@pytest.mark.parametrize(("num", "leads"), [(2_048, "kid-x"), (10_000, "fid-x")])
def test_with_few_samples_kid_is_compared(tmp_path: Path, num: int, leads: str) -> None:
    lines = [
        {"step": step, "images": 10 * step, "name": name, "value": value + step * rise, "protocol": {"num": num}}
        for step in (0, 5)
        for name, value, rise in (("fid-x", 10.0, 1), ("kid-x", 0.5, 1), ("variance-ratio-x", 0.4, 0))
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    found = cells.history_of(tmp_path, installed())
    assert found["metric"] == leads
    assert [one["value"] for one in found["values"]] == ([0.5, 5.5] if leads == "kid-x" else [10, 15])
    assert leads not in found["others"]
    assert not found["flags"], "0.4 of the variance is not a collapse"


def test_a_missed_target_takes_infinitely_long() -> None:
    def record(seed: int, *values: float) -> dict[str, Any]:
        lines = [{"images": 10 * n, "seconds": float(n), "value": value} for n, value in enumerate(values)]
        flags = ["collapse"] if seed == 2 else []
        about = {"seed": seed, "folder": "f", "metric": "fid-x", "protocol": {}, "seconds": 1.0, "images": 5}
        return {**about, "values": lines, "flags": flags}

    records = [record(0, 9, 4, 2), record(1, 9, 8, 1), record(2, 9, 8, 8)]
    found = cells.summary("x", records, installed(), target=4)
    assert (found["seconds_to_target"], found["images_to_target"], found["reached"]) == (2.0, 20, 2)
    assert cells.summary("x", records[1:], installed(), target=2)["seconds_to_target"] is None, (
        "the median of 2 and infinity"
    )
    assert found["collapse_rate"] == pytest.approx(1 / 3)
    assert found["final"]["values"] == [2, 1, 8]
    assert found["best"]["values"] == [2, 1, 8]
    failed = cells.summary("x", [{"seed": 0, "diverged": "not finite"}], installed())
    assert failed["failed"] == "not finite"


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_results_are_compared_by_their_ratios_to_the_baseline(tmp_path: Path) -> None:
    """On a machine that is twice as slow today, the code is not slower."""
    old = read_results(write_result(tmp_path / "old.json", [times("a", 1.0), times("b", 1.0)]))
    today = [{**times("a", 1.0), "seconds": times("a", 2.0)["seconds"]}, times("b", 1.2)]
    a, b = compared(read_results(write_result(tmp_path / "new.json", today)), old)
    assert not a["differs"]
    assert b["median"] == pytest.approx(1.2)
    assert b["low"] > 1
    other = [{**one, "baseline": "another"} for one in today]
    assert compared(read_results(write_result(tmp_path / "n.json", other)), old)[0]["median"] == pytest.approx(2)


@pytest.mark.parametrize("change", [{"threads": 77}, {"processor": "another"}, {"versions": {"torch": "1"}}])
def test_results_of_different_machines_are_not_compared(change: dict[str, Any], tmp_path: Path) -> None:
    """B3."""
    old = read_results(write_result(tmp_path / "old.json", [times("a", 1.0)], **change))
    with pytest.raises(ConfigError, match="cannot be compared"):
        compared(read_results(write_result(tmp_path / "new.json", [times("a", 1.0)])), old)


def test_too_few_rounds_are_not_compared(tmp_path: Path) -> None:
    old = read_results(write_result(tmp_path / "old.json", [times("a", 1.0, rounds=19)]))
    with pytest.raises(ConfigError, match="19 rounds in the old result"):
        compared(read_results(write_result(tmp_path / "new.json", [times("a", 1.0)])), old)


def test_conditions_are_parsed() -> None:
    row = {"median": 1.2, "low": 1.1, "high": 1.3}
    assert condition("median>1.10")(row)
    assert not condition("low > 1.1")(row)
    for text in ("mean>1", "median", "median>x", "__import__('os')"):
        with pytest.raises(UsageError, match="--fail-if"):
            condition(text)


def test_the_exit_code_depends_on_fail_if(
    capsys: pytest.CaptureFixture[str], dots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench", "speed", "vanilla", "--data", dots, "--seconds", 0.01, "--only", "sampling"]
    old = tmp_path / "old.json"
    run(capsys, 0, *words, "--json", old)
    content = json.loads(old.read_text())
    for entry in content["entries"]:
        for key in ("seconds", "relative"):
            entry[key] = [one / 100 for one in entry[key]]
    old.write_text(json.dumps(content))
    out, _ = run(capsys, 1, *words, "--compare", old, "--fail-if", "median>1.10")
    assert "slower  fails median>1.10" in out
    run(capsys, 2, *words, "--fail-if", "median>1.10")


def test_a_busy_machine_gives_a_warning() -> None:
    current = environment()
    assert set(ENVIRONMENT) <= set(current)
    assert busy({**current, "load_before": 0.0}) == ""
    assert "not reliable" in busy({**current, "load_before": 99.0})
