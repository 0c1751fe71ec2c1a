"""Options of datasets on the command line, in cards and in Python, and files that datasets read by their suffix."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import aigc_zoo
from aigc_zoo import options
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, UsageError
from aigc_zoo.plugins import Catalogue, catalogue
from aigc_zoo.spec import Component

MINE = """
from pathlib import Path
from typing import Annotated, Literal
from aigc_zoo.spec import Component, Range, hookimpl
ZOO_API = 1
@hookimpl
def zoo_components():
    yield Component(
        kind="dataset", name="signs", target=f"{__name__}:signs", summary="Points from text files",
        suffixes=(".pts", ".pts.txt"), presets={"far": {"scale": 2.0}},
    )
    yield Component(kind="dataset", name="glyphs", target=f"{__name__}:signs", summary="s", suffixes=(".gly",))
    yield Component(
        kind="recipe", name="own", extends="vanilla", summary="s",
        defaults={"data": "signs", "data.count": 32, "batch_size": 8, "steps": 1, "data.scale": 0.5},
        presets={"signs": {"generator": "vanilla.points", "discriminator": "vanilla.points"}},
    )
def signs(
    where: Path, *, count: Annotated[int, Range(4, 999)] = 64, scale: Annotated[float, Range(0.1, 9)] = 1.0,
    shape: Literal["line", "cross"] = "line", shifted: bool = False,
):
    '''Points.

    count: number of points.
    scale: factor of all coordinates.
    '''
    import torch
    from aigc_zoo.data.samples import point_samples
    content = where.read_text() if where.is_file() else "1"
    points = torch.linspace(-1, 1, count)[:, None].repeat(1, 2) * scale * float(content) + shifted
    if shape == "cross":
        points[::2, 1] *= -1
    labels = torch.arange(count) % 2
    return {name: point_samples("signs", name, points[start:], labels[start:], ("a", "b"), bounds=(-9.0, 9.0))
            for start, name in ((0, "train"), (2, "test"))}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def zoo(place: Path) -> Catalogue:
    return catalogue([place / "mine.py"])


def run(line: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What a command prints, on one line; of a configuration, the JSON alone."""
    assert main(["--plugin", "mine.py", *line.split()]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return " ".join((out if line.startswith("config") else out + err).split())


TRAIN = "train own.signs --generator.width 4 --discriminator.width 4 --eval-num 50"


def card(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path, "card.json").read_text())
    return found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", {"count": 32, "scale": 0.5, "shape": "line", "shifted": False}),
        ("--data.count 40 --data.shape=cross", {"count": 40, "scale": 0.5, "shape": "cross", "shifted": False}),
        ("--data signs --data.shifted", {"count": 32, "scale": 0.5, "shape": "line", "shifted": True}),
        ("--data local/signs.far", {"count": 32, "scale": 2.0, "shape": "line", "shifted": False}),
        ("--data glyphs --data.scale 3", {"count": 64, "scale": 3.0, "shape": "line", "shifted": False}),
    ],
)
@pytest.mark.promise("D2", 1, 1)
def test_options_reach_the_dataset_and_the_card(
    words: str, found: dict[str, Any], capsys: pytest.CaptureFixture[str], promise: Any
) -> None:
    run(f"{TRAIN} {words} --out run", capsys)
    stored = card("run")
    assert stored["data"]["options"] == found
    assert {key: stored["run"][f"data.{key}"] for key in found} == found
    assert stored["data"]["samples"] == found["count"]
    assert stored["set_by"].get("data.count") == ("cli" if "count" in words else None)
    assert "data.count" not in stored["options"]
    promise.kept(runs=1)


def test_a_run_resumes_with_the_same_options_only(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{TRAIN} --data.count 48 --out run"
    run(line, capsys)
    assert "done" in run(line, capsys)
    text = run(line.replace("48", "64"), capsys, 3)
    assert "run run was started with data.count 48, now 64;" in text


def test_a_configuration_file_holds_them(capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("config own --data.scale 4", "config own.signs --data glyphs --data.count 9"):
        Path("c.json").write_text(run(line, capsys))
        again = run("config --config c.json", capsys)
        assert json.loads(again)["run"] == json.loads(Path("c.json").read_text())["run"]
    over = json.loads(run("config --config c.json --data.count 11", capsys))["run"]
    assert (over["data"], over["data.count"]) == ("glyphs", 11)
    other = json.loads(run("config --config c.json --data ring", capsys))["run"]
    assert [key for key in other if key.startswith("data.")] == ["data.modes", "data.count", "data.std"]
    assert other["data.count"] == 50_000, "another dataset drops the options of the former one"


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("train own --data.cuont 9", 2, "no option --data.cuont; did you mean --data.count?"),
        ("train own --data.count 3", 2, "--data.count 3: not in the range 4 to 999"),
        ("train own --data.shape ring", 2, "--data.shape ring: not one of line, cross"),
        (
            "train own --data digits --data.modes 3",
            2,
            "no option --data.modes with --data digits: --data ring brings it",
        ),
        ("train dcgan --data . --data.modes 3", 2, "no option --data.modes with data at a path"),
        ("data prepare ring --data.modes 0", 2, "--data.modes 0: not in the range 1 to 1000"),
        ("data prepare ring --data.mode 3", 2, "No such option '--data.mode'"),
        ("eval . --against ring --against.std 9", 2, "--against.std 9: not in the range 0 to 0.2"),
    ],
)
@pytest.mark.promise("D2", 1, 1)
def test_wrong_options_are_refused(
    line: str, code: int, message: str, capsys: pytest.CaptureFixture[str], promise: Any
) -> None:
    assert message in run(line, capsys, code)
    promise.kept(refused=1)


def test_help_lists_them_with_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    text = run("train own --help", capsys)
    assert "Data local/signs: --data.count INTEGER Number of points. [4 to 999; default: 32 from local/own]" in text
    assert "--data.shape [line|cross]" in text
    text = run("train dcgan --data ring -h", capsys)
    assert "--data.modes INTEGER Number of Gaussians. [1 to 1000; default: 8]" in text
    assert "Options of the dataset ring: --data.modes INTEGER" in run("data prepare ring --help", capsys)
    assert "Options of the dataset grid: --against.side INTEGER" in run("eval x --against grid --help", capsys)
    assert "--data.modes" not in run("train dcgan --data digits --help", capsys)
    assert "--data.modes INT Number of Gaussians." in run("show ring", capsys)
    assert "reads FILE.pts, FILE.pts.txt" in run("show signs", capsys)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("train vanilla --data ring --data.m", ["--data.modes"]),
        ("--plugin mine.py train own --data.shape ", ["line", "cross"]),
        ("data prepare grid --data.s", ["--data.side", "--data.std"]),
        ("eval run --against ring --against.m", ["--against.modes"]),
    ],
)
def test_they_are_completed(
    line: str, found: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ZOO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"zoo {line}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"zoo {line}".split(" ")) - 1))
    assert main([]) == 0
    assert [entry.partition(",")[2] for entry in capsys.readouterr().out.split()] == found


def test_a_run_is_evaluated_on_its_own_options_or_on_others(capsys: pytest.CaptureFixture[str]) -> None:
    run("train vanilla --data ring --data.modes 3 --data.count 99 --steps 1 --batch-size 8 --out r", capsys)
    assert "against 99 of ring" in run("eval r --num 99", capsys)
    assert "of 5" in run("eval r --num 99 --against ring --against.modes 5", capsys)
    assert "of 8" in run("eval r --num 99 --against ring", capsys)


def test_python_takes_them_too() -> None:
    trained = aigc_zoo.train("vanilla", "ring", steps=1, batch_size=8, out="p", **{"data.modes": 2, "data.count": 60})
    assert trained.card["data"]["options"] == {"modes": 2, "count": 60, "std": 0.02}
    with pytest.raises(UsageError, match=r"--data\.modes 0: not in the range"):
        aigc_zoo.train("vanilla", "ring", **{"data.modes": 0})


# --- suffixes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dataset"), [("a.pts", "signs"), ("b.PTS.TXT", "signs"), ("c.gly", "glyphs")])
@pytest.mark.promise("D2", 1, 1)
def test_a_file_goes_to_the_dataset_that_reads_its_suffix(
    name: str, dataset: str, capsys: pytest.CaptureFixture[str], zoo: Catalogue, promise: Any
) -> None:
    Path(name).write_text("0.5")
    assert (found := options.dataset_of(zoo, name)) is not None
    assert found.entry.name == dataset
    text = run(f"data prepare {name} --data.count 10", capsys)
    assert "samples 10" in text
    run(f"{TRAIN} --data {name} --data.count 50 --data.scale 2 --out run", capsys)
    stored = card("run")["data"]
    assert (stored["samples"], stored["options"]["scale"], stored["reference"]) == (50, 2.0, os.path.abspath(name))
    assert "against 50 of signs" in run("eval run --num 50", capsys)
    assert "of signs" in run(f"eval {name} --against signs --num 50", capsys)
    promise.kept(files=1)


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no.pts: there is no such file or folder" in run("data prepare no.pts", capsys, 65)


@pytest.mark.parametrize("suffix", [".npy", ".zip", ".gz", ".XYZ", "xyz", "", ".a/b"])
def test_suffixes_of_the_zoo_itself_and_odd_ones_are_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        Component(kind="dataset", name="x", target="a:b", summary="s", suffixes=(suffix,))


def test_only_datasets_have_suffixes() -> None:
    for kind in ("loss", "extractor"):
        with pytest.raises(ValueError, match="of a dataset only"):
            Component(kind=kind, name="x", target="a:b", summary="s", suffixes=(".xyz",))


def test_ours_come_first_and_two_strangers_are_ambiguous(zoo: Catalogue) -> None:
    def entry(namespace: str, suffixes: tuple[str, ...]) -> Any:
        component = Component(kind="dataset", name="d", target="a:b", summary="s", suffixes=suffixes)
        return type(zoo.items("dataset")[0])(component, namespace, f"aigc-zoo-{namespace}", "1")

    class Some(Catalogue):
        def __init__(self, *entries: Any) -> None:
            self._entries = {("dataset", one.id): one for one in entries}

    def reader(*entries: Any) -> str:
        found = options.reader_of(Some(*entries), "x.nii.gz")
        return "" if found is None else found.id

    a, b, ours = entry("a", (".nii.gz",)), entry("b", (".nii.gz",)), entry("zoo", (".nii.gz",))
    assert reader(a) == "a/d"
    assert reader(a, b, ours) == "zoo/d"
    assert reader(entry("c", (".x",))) == ""
    with pytest.raises(ConfigError, match=r"a/d, b/d\n.*ZOO_DISABLE_PLUGINS=aigc-zoo-b"):
        reader(a, b)


def test_usage_errors_have_the_flag_that_was_typed(zoo: Catalogue) -> None:
    with pytest.raises(UsageError, match=r"--data\.scale 99"):
        options.resolve(zoo, "local/own", given={"data.scale": 99})
