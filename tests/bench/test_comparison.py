"""Comparison of results and the gate `--fail-if`: directions, differences, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aigc_zoo.bench.comparison import compared, condition
from aigc_zoo.bench.environment import environment
from aigc_zoo.bench.gate import NOTHING, failures
from aigc_zoo.bench.lines import row_line
from aigc_zoo.bench.results import read_results, write_results
from aigc_zoo.cli import main
from aigc_zoo.errors import DataError

GATE = "median>1.10"


def values(metric: str, *numbers: float | None, **more: Any) -> dict[str, Any]:
    final = {"mean": None, "std": None, "values": list(numbers)}
    return {"name": "a", "metric": metric, "protocol": {}, "final": final, "seeds": list(range(len(numbers))), **more}


def result(*entries: dict[str, Any], kind: str = "quality", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "entries": list(entries), **more}


def row(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    (found,) = compared(result(new), result(old))
    return found


WORSE = [  # metric, values that are worse, values that are better
    ("fid-x", (9.0, 9.1, 9.2), (3.0, 3.1, 3.2)),
    ("isc-x", (2.0, 2.1, 2.2), (8.0, 8.1, 8.2)),
    ("kid-x", (0.02, 0.021, 0.022), (-0.0002, 0.0001, 0.0002)),
    ("kid-zoo-grey28", (0.3, 0.31, 0.32), (0.1, 0.11, 0.12)),
    ("fid-x", (1.0, 1.1, 1.2), (-1e-5, 0.0, 1e-5)),
    ("recall-x", (0.0, 0.01, 0.0), (0.5, 0.51, 0.52)),
    ("coverage-x", (0.3, 0.31, 0.3), (0.9, 0.91, 0.9)),
    ("duplicates-x", (0.5, 0.51, 0.5), (0.0, 0.01, 0.0)),
    ("variance-ratio-x", (0.3, 0.31, 0.3), (0.95, 0.96, 0.97)),
    ("variance-ratio-x", (2.3, 2.31, 2.3), (1.01, 1.02, 1.0)),
    ("gap-x", (0.2, 0.21, 0.2), (1.0, 1.01, 0.99)),
    ("modes-x", (3.0, 4.0, 3.0), (10.0, 10.0, 9.0)),
    ("modes-x", (0.0, 0.0, 0.0), (10.0, 10.0, 10.0)),
    ("kl-x", (2.0, 2.1, 2.0), (0.0, 0.001, 0.0)),
]


@pytest.mark.parametrize(("metric", "worse", "better"), WORSE)
def test_the_direction_of_each_metric_is_respected(
    metric: str, worse: tuple[float, ...], better: tuple[float, ...]
) -> None:
    down, up = (row(values(metric, *a), values(metric, *b)) for a, b in ((worse, better), (better, worse)))
    assert down["median"] > 1
    assert down["low"] > 1
    assert condition(GATE)(down)
    assert condition("low>1")(down)
    assert "worse" in row_line(down, "quality")
    assert up["median"] < 1
    assert up["high"] < 1
    assert not condition(GATE)(up)
    assert "better" in row_line(up, "quality")
    same = row(values(metric, *better), values(metric, *better))
    assert same["median"] == 1
    assert not same["differs"]
    assert not condition(GATE)(same)
    assert "no difference" in row_line(same, "quality")


def test_differences_are_relative_to_the_range_of_the_metric() -> None:
    """Two near-duplicates of a hundred are not twice as bad as one; two of ten lost modes are a fifth."""
    few = row(values("duplicates-x", 0.02, 0.02), values("duplicates-x", 0.01, 0.01))
    assert few["median"] == pytest.approx(1.01)
    ten = {"settings": {"of": 10}}
    lost = row(values("modes-x", 8, 8, protocol=ten), values("modes-x", 10, 10, protocol=ten))
    assert lost["median"] == pytest.approx(1.2)
    assert lost["measure"] == "difference"


def test_scatter_around_zero_is_no_difference() -> None:
    old, new = values("kid-x", -0.0004, 0.0001, 0.0003), values("kid-x", 0.0006, -0.0003, 0.0002)
    found = row(new, old)
    assert found["median"] == 1
    assert not condition(GATE)(found)
    assert condition(GATE)(row(values("kid-x", 0.004, 0.005, 0.004), old))


def test_a_single_seed_has_no_interval() -> None:
    found = row(values("fid-x", 3.3), values("fid-x", 3.2))
    assert not condition(GATE)(found)
    assert not found["differs"]
    assert "single seed" in failures([found], "low>1")[0]
    assert "[single seed, no interval]" in row_line(found, "quality")
    assert condition(GATE)(row(values("kid-x", 0.4), values("kid-x", 0.0)))


REFUSED = {
    "diverged": ([{"name": "a", "failed": "not finite"}], [values("fid-x", 3.0)], "failed (not finite) in the new"),
    "one seed diverged": ([values("fid-x", 3.0, seeds=[0, 1])], [values("fid-x", 3.0)], "1 of 2 seeds"),
    "one value not finite": ([values("fid-x", 3.0, None)], [values("fid-x", 3.0)], "1 of 2 seeds"),
    "no value": ([values("fid-x", seeds=[0])], [values("fid-x", 3.0)], "0 of 1 seeds"),
    "diverged before": ([values("fid-x", 3.0)], [{"name": "a", "failed": "x"}], "in the old result"),
    "diverged twice": ([{"name": "a", "failed": "x"}], [{"name": "a", "failed": "x"}], "failed (x)"),
    "does not fit any more": ([{"name": "a", "incompatible": "9 pixels"}], [values("fid-x", 3.0)], "9 pixels"),
    "missing": ([], [values("fid-x", 3.0)], "missing in the new result"),
    "missing before": ([values("fid-x", 3.0)], [], "missing in the old result"),
    "another metric": ([values("fid-x", 3.0)], [values("kid-x", 3.0)], "the metrics differ: kid-x, now fid-x"),
    "an unknown metric": ([values("mystery", 3.0)], [values("mystery", 3.0)], "not known"),
    "another protocol": ([values("fid-x", 3.0, protocol={"num": 9})], [values("fid-x", 3.0)], "num: 9 against"),
    "twice": ([values("fid-x", 3.0)] * 2, [values("fid-x", 3.0)], "2 entries of this name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_fails(name: str) -> None:
    new, old, reason = REFUSED[name]
    rows = compared(result(*new), result(*old))
    assert len(rows) == 1
    for gate in (GATE, "low>1", "median<0.5"):
        assert condition(gate)(rows[0])
        (line,) = failures(rows, gate)
        assert line.startswith("a: cannot be compared: ")
        assert reason in line
    assert reason in row_line(rows[0], "quality")


def test_each_reason_has_a_line() -> None:
    good = [values("fid-x", 3.0, 3.1) | {"name": name} for name in "abc"]
    bad = [values("fid-x", 9.0, 9.1) | {"name": "a"}, {"name": "b", "failed": "x"}, good[2]]
    assert [line[:2] for line in failures(compared(result(*bad), result(*good)), GATE)] == ["a:", "b:"]
    assert not failures(compared(result(*good), result(*good)), GATE)


def test_nothing_compared_is_a_failure() -> None:
    fits = {"name": "a", "incompatible": "no"}
    assert failures([], GATE) == [NOTHING]
    assert failures(compared(result(fits), result(fits)), GATE) == [NOTHING]
    rows = compared(
        result(fits, {**values("fid-x", 3.0), "name": "b"}), result(fits, {**values("fid-x", 3.0), "name": "b"})
    )
    assert not failures(rows, GATE), "a combination that fits in neither result hides no failure"


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ({"images": 5_000, "seconds": None}, {"images": None, "seconds": None}),
        ({"images": None, "seconds": 30.0}, {"images": None, "seconds": 60.0}),
        ({"recipe": "zoo/dcgan"}, {"recipe": "zoo/vanilla"}),
    ],
)
def test_other_budgets_are_not_compared(new: dict[str, Any], old: dict[str, Any]) -> None:
    entry = values("fid-x", 3.0, 3.1)
    (found,) = compared(result(entry, settings=new), result(entry, settings=old))
    assert "the settings differ" in found["reason"]
    default = {"images": 50_000, "seconds": None}
    (found,) = compared(result(entry, settings=default), result(entry, settings={**default, "images": None}))
    assert found["median"] == 1


def test_times_of_other_machines_are_no_budget() -> None:
    entry, settings = values("fid-x", 3.0, 3.1), {"images": None, "seconds": 30.0}
    a, b = (result(entry, settings=settings, environment={"processor": name}) for name in "ab")
    assert "processor b, now a" in compared(a, b)[0]["reason"]
    assert compared(a, a)[0]["median"] == 1


def test_a_benchmark_of_speed_that_was_left_out_fails(tmp_path: Path) -> None:
    times = {"group": "g", "seconds": [0.01 + 1e-4 * (n % 7) for n in range(40)]}
    old = [{"name": name, **times} for name in "abc"]
    new = [{"name": "a", **times}, {"name": "b", "group": "g", "skipped": "no data"}, {"name": "d", **times}]
    results = []
    for entries in (new, old):
        write_results(tmp_path / "r.json", "speed", entries, environment(), {})
        results.append(read_results(tmp_path / "r.json"))
    lines = failures(compared(*results), GATE)
    assert [line[:2] for line in lines] == ["b:", "d:", "c:"]
    asked = compared(*results, lambda entry: entry["name"] != "c")
    assert [row["name"] for row in asked] == ["a", "b", "d"]


@pytest.mark.parametrize(
    "change",
    [
        {"final": {"values": ["3"]}},
        {"final": {"values": [True]}},
        {"final": [3.0]},
        {"metric": None},
        {"protocol": "p"},
        {"seeds": 3},
    ],
)
def test_damaged_values_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", "quality", [values("fid-x", 3.0) | change], environment(), {})
    with pytest.raises(DataError, match="entry a"):
        read_results(tmp_path / "r.json")


def test_a_result_of_another_kind_is_refused_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    old = tmp_path / "old.json"
    write_results(old, "speed", [], environment(), {})
    assert main(["bench", "quality", "dcgan", "--compare", str(old), "--fail-if", GATE]) == 3
    assert "cannot be compared" in capsys.readouterr().err
    content = json.loads(old.read_text())
    content["environment"]["threads"] = 77
    old.write_text(json.dumps(content))
    assert main(["bench", "speed", "--compare", str(old)]) == 3
