"""Tools that write documents, tools for continuous integration, and the timing of benchmarks."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def script(path: str) -> ModuleType:
    """Import a script of the repository as a module."""
    file = ROOT / path
    found = importlib.util.spec_from_file_location(f"zoo_script_{file.stem}", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


# --- the result table -------------------------------------------------------------------------------------------------


def result() -> dict[str, Any]:
    """The example in benchmarks/README.md."""
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    return dict(json.loads(example))


def test_the_documented_example_is_a_valid_result(tmp_path: Path) -> None:
    results = script("tools/results_table.py")
    (tmp_path / "one.json").write_text(json.dumps(result()))
    text = results.table(results.load(tmp_path))
    heading = next(line for line in text.splitlines() if "fid-zoo-grey28" in line)
    row = next(line for line in text.splitlines() if line.startswith("| zoo/"))
    for part in ("10,000 samples against 10,000 of mnist test", "averaged weights"):
        assert part in heading
    for part in ("zoo/dcgan.mnist", "1.23", "10.0 min"):
        assert part in row
    assert result()["command"] in text


def test_results_are_grouped_by_protocol() -> None:
    results = script("tools/results_table.py")
    one, better, other = result(), result(), result()
    better["recipe"], better["metrics"][0]["value"] = "zoo/lsgan.mnist", 0.5
    other["metrics"][0]["protocol"]["num"] = 5_000
    tables = results.table([one, better, other]).split("| recipe |")[1:]
    assert [part.count("| zoo/") for part in tables] in ([2, 1], [1, 2])
    both = max(tables, key=lambda part: part.count("| zoo/"))
    assert both.index("zoo/lsgan.mnist") < both.index("zoo/dcgan.mnist"), "the lowest value comes first"


@pytest.mark.parametrize("key", ["machine", "versions", "commit", "seed", "command"])
def test_an_incomplete_result_is_refused(key: str) -> None:
    problems = script("tools/results_table.py").problems
    assert problems(result()) == []
    assert problems({k: v for k, v in result().items() if k != key}) == [f"{key} is missing"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": {}}, "protocol lacks num"),
        ({"value": float("nan")}, "value is not finite"),
        ({"value": "1.2"}, "value is a str"),
    ],
)
def test_a_metric_without_its_protocol_is_refused(change: dict[str, Any], reason: str) -> None:
    bad = result()
    bad["metrics"][0] |= change
    assert any(reason in problem for problem in script("tools/results_table.py").problems(bad))


# --- the table of pix2pix ---------------------------------------------------------------------------------------------


def pix2pix_results(folder: Path, **environment: Any) -> None:
    """Results of two seeds, in which pix2pix has the lower KID, and their comparison."""
    known = {"processor": "A processor", "threads": 2, "load_before": 0.1, "cores": 2, "versions": {"torch": "2.15"}}
    for variant, kid in (("pix2pix", 0.01), ("L1-only", 0.13)):
        for seed in (0, 1):
            values = {"kid": kid + seed / 1000, "fid": 1.0, "precision": 0.9, "recall": 0.5}
            protocol = {"num": 2000, "split": "test", "extractor": "zoo/zoo-rgb32"}
            run = {
                "variant": variant,
                "seed": seed,
                "recipe": "zoo/pix2pix.digits-edges",
                "steps": 10,
                "images": 160,
                "seconds": 100 + seed,
                "metrics": [
                    {
                        "name": f"{name}-zoo-rgb32",
                        "value": value,
                        "interval": [value - 0.02, value + 0.02],
                        "protocol": protocol,
                    }
                    for name, value in values.items()
                ],
                "pairs": {"psnr": {"mean": 20.0}, "ssim": {"mean": 0.8}},
                "environment": {**known, "commit": "abc", "dirty": False, **environment},
            }
            (folder / f"{variant}-{seed}.json").write_text(json.dumps(run))


def test_pix2pix_is_compared_seed_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark, tool = script("benchmarks/pix2pix.py"), script("tools/pix2pix_table.py")
    pix2pix_results(tmp_path)
    runs = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json"))]
    found = benchmark.compared(runs)
    assert found["kid"]["mean"] == pytest.approx(-0.12)
    assert found["kid"]["interval_95"] == pytest.approx([-0.12, -0.12])
    error = 0.02 * 2**0.5
    assert found["kid"]["intervals_95_of_seeds"][1] == pytest.approx([-0.12 - error, -0.12 + error])
    (tmp_path / "comparison.json").write_text(json.dumps({"differences": found}))
    text = tool.table(*tool.load(tmp_path))
    assert "| pix2pix | 0.0105 | 1.00 | 0.900 | 0.500 | 20.00 | 0.8000 | 100 to 101 |" in text
    assert "-0.1200 (-0.1200 to -0.1200)" in text
    assert "2,000 translations of held-out sources against the test split by `zoo-rgb32`" in text


@pytest.mark.parametrize(
    ("change", "reason"), [({"dirty": True}, "files differed"), ({"commit": None}, "lacks commit")]
)
def test_an_unreliable_result_of_pix2pix_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    pix2pix_results(tmp_path, **change)
    with pytest.raises(ValueError, match=reason):
        script("tools/pix2pix_table.py").load(tmp_path)


# --- continuous integration -------------------------------------------------------------------------------------------

CASE = '<testcase classname="tests.data" name="test_mnist">{}</testcase>'


@pytest.mark.parametrize(
    ("cases", "complaint"),
    [
        (CASE.format(""), ""),
        (CASE.format('<skipped message="ZOO_DATA is not set"/>'), "ZOO_DATA is not set"),
        ("", "no test ran"),
    ],
)
def test_ci_fails_when_a_test_was_skipped(tmp_path: Path, cases: str, complaint: str) -> None:
    report = tmp_path / "tests.xml"
    report.write_text(f'<testsuites><testsuite name="pytest">{cases}</testsuite></testsuites>')
    found = script("tools/no_skips.py").complaint(report)
    assert complaint in found
    assert bool(found) == bool(complaint)


# --- benchmarks -------------------------------------------------------------------------------------------------------


def test_pairs_alternate_and_a_known_difference_is_found() -> None:
    measure = script("benchmarks/measure.py")
    order: list[str] = []
    clock = itertools.accumulate(itertools.cycle([0.0, 3.0]))  # each timed call takes 3
    pair = measure.Paired(lambda: order.append("B"), clock=lambda: next(clock))
    for _ in range(40):
        pair.setup()
        order.append("A")
        pair.teardown()
    assert order[:8] == ["B", "A", "A", "B", "B", "A", "A", "B"]
    ratios = pair.ratios([2.0 + 0.1 * (n % 3) for n in range(40)])
    low, high = measure.interval(ratios)
    assert 3 / 2.2 <= low <= 3 / 2.1 <= high <= 3 / 2.0
    assert measure.interval(ratios) == (low, high), "the interval is a function of the values"


def test_the_environment_of_a_measurement_is_complete() -> None:
    found = script("benchmarks/measure.py").environment()
    for key in ("processor", "cores", "threads", "system", "python", "torch_capability"):
        assert found[key], key
    assert found["load_before"] >= 0
    assert found["versions"]["torch"]
    assert {
        "cuda",
        "cudnn",
        "gpu",
        "tf32",
        "deterministic",
        "commit",
        "dirty",
        "governor",
        "cgroup_cpu_max",
    } <= found.keys()


def test_code_outside_of_a_repository_has_no_commit(tmp_path: Path) -> None:
    assert script("benchmarks/measure.py").commit(tmp_path) == {"commit": None, "dirty": None}


@pytest.mark.slow
def test_benchmarks_run_for_every_installed_recipe() -> None:
    command = ["benchmarks", "-c", "benchmarks/pytest.ini", "--benchmark-disable", "-q", "-rs"]
    env = {**os.environ, "PYTEST_ADDOPTS": ""}
    done = subprocess.run([sys.executable, "-m", "pytest", *command], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^(\d+) passed in", done.stdout.splitlines()[-1]), done.stdout


# --- the zoo's results ------------------------------------------------------------------------------------------------


def test_all_recipes_are_measured_on_mnist_and_two_on_stacked_digits(tmp_path: Path) -> None:
    tool = script("tools/zoo_results.py")
    mnist, stacked = tool.commands(tmp_path, tmp_path, quick=False).values()
    assert {"zoo/dcgan", "zoo/vanilla"} <= set(mnist)
    assert mnist[mnist.index("--data") + 1] == "mnist"
    assert mnist[mnist.index("--seconds") + 1] == "30"
    assert stacked[stacked.index("--data") + 1] == "stacked-digits"
    assert tool.written(f"# Old\n{tool.BEGIN}\nstale\n{tool.END}\nend\n", "| a |") == (
        f"# Old\n{tool.BEGIN}\n| a |\n{tool.END}\nend\n"
    )
    with pytest.raises(ValueError, match="markers"):
        tool.written("# No markers\n", "| a |")


@pytest.mark.nightly
def test_the_zoos_results_are_measured_in_a_quick_trial(tmp_path: Path) -> None:
    assert script("tools/zoo_results.py").main(["--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "results.md").read_text()
    assert "| vanilla | fid-zoo-grey28 |" in text
    assert "modes-zoo-stacked28" in text
    assert "zoo bench quality dcgan --data stacked-digits" in text


# --- counted promises -------------------------------------------------------------------------------------------------


def junit(folder: Path, more: str = "") -> Path:
    def case(name: str, **facts: object) -> str:
        own = "".join(f'<property name="{key.replace("__", ":")}" value="{value}"/>' for key, value in facts.items())
        return f'<testcase classname="a" name="{name}"><properties>{own}</properties></testcase>'

    path = folder / "promises.xml"
    cases = case("one", R1__kills=200, R1__unreadable=0), case("two", R1__kills=5, R1__longest_seconds=1.5)
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}{more}</testsuite></testsuites>")
    return path


def test_counts_of_a_promise_are_summed_over_its_tests(tmp_path: Path) -> None:
    tool = script("tools/reliability.py")
    found = tool.counted(junit(tmp_path))
    assert found == {"R1": {"tests": 2, "kills": 205, "unreadable": 0, "longest_seconds": 1.5}}
    machine = {"commit": "0" * 40, "processor": "x", "cores": 2, "system": "Linux", "python": "3"}
    about = {"environment": machine | {"versions": {"torch": "2"}}, "date": "2026-01-01", "tests": 2, "seconds": 120}
    text = tool.table({"promises": found, **about})
    assert "kills 205, unreadable 0, longest seconds 1.5 | 2 |" in text
    assert "not counted yet" in text, "promises without counts are marked"


@pytest.mark.parametrize("bad", ["failure", "error", "skipped"])
def test_a_failed_test_gives_no_counts(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did not pass"):
        script("tools/reliability.py").counted(junit(tmp_path, f'<testcase classname="a" name="x"><{bad}/></testcase>'))
