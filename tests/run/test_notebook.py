"""The Python API: progress, data in memory, what a run can do, samples as images, and the errors of the commands."""

from __future__ import annotations

import copy
import io
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, DataError, ZooError
from aigc_zoo.run import bars
from aigc_zoo.run.progress import Progress

from .conftest import TINY

SHORT = {key: value for key, value in TINY.items() if not key.startswith(("eval", "extractor"))} | {"steps": 2}
MEASURED = {**TINY, "steps": 2, "eval_num": 64, "metrics": "variance-ratio"}


def arrays(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(path) as file:
        return torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])


@pytest.fixture(scope="module")
def done(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "done"
    return aigc_zoo.train("dcgan", arrays(blobs), out=folder, conditional=True, **MEASURED)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "points"
    return aigc_zoo.train("vanilla", "ring", out=folder, steps=1, batch_size=8, eval_every=9, eval_num=64)


# --- data in memory ---------------------------------------------------------------------------------------------------


def test_equal_content_resumes_and_other_content_is_refused(blobs: Path, tmp_path: Path) -> None:
    images, labels = arrays(blobs)
    first = aigc_zoo.train("dcgan", (images, labels), out=tmp_path / "a", **SHORT)
    aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "b", **SHORT)
    weights = [RunDirectory(tmp_path / name).newest_valid() for name in "ab"]
    assert all(one is not None for one in weights)
    for name, value in weights[0].tensors.items():  # type: ignore[union-attr]
        assert value.equal(weights[1].tensors[name])  # type: ignore[union-attr]
    for data in (
        (images.numpy(), labels.tolist()),
        TensorDataset(images.permute(0, 3, 1, 2).contiguous(), labels),
        {"x": images, "y": labels},
        [(Image.fromarray(image[..., 0].numpy()), int(label)) for image, label in zip(images, labels, strict=True)],
    ):
        again = aigc_zoo.train("dcgan", data, out=tmp_path / "a", **SHORT)
        assert again.result is not None
        (note,) = again.result.notes
        assert note.startswith("this run is finished; nothing was done")
    assert first.card["data"]["digest"] == aigc_zoo.load_run(tmp_path / "b").card["data"]["digest"]
    for data in ((images[1:], labels[1:]), (255 - images, labels), images):
        with pytest.raises(ConfigError, match="data"):
            aigc_zoo.train("dcgan", data, out=tmp_path / "a", **SHORT)


def test_an_interrupted_run_resumes_with_its_data(blobs: Path, tmp_path: Path) -> None:
    class Stopping(Progress):
        def step(self, step: int, images: int, seconds: float) -> None:
            if step == 7:
                raise KeyboardInterrupt

    settings = {**SHORT, "steps": 12}
    with pytest.raises(KeyboardInterrupt):
        aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / "a", progress=Stopping(), **settings)
    for folder in "ab":
        aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / folder, **settings)
    samples = [aigc_zoo.load_run(tmp_path / folder).sample(8) for folder in "ab"]
    assert samples[0].equal(samples[1])


def test_splits_and_size_apply_to_data_in_memory(blobs: Path, tmp_path: Path) -> None:
    images, labels = arrays(blobs)
    data = {"train": (images[:150], labels[:150]), "test": (images[150:], labels[150:])}
    run = aigc_zoo.train("dcgan", data, out=tmp_path, size=12, **SHORT)
    assert run.card["data"]["spec"]["shape"] == [1, 12, 12]
    assert run.card["data"]["samples"] == 150
    assert run.card["run"]["data"] == "in-memory data"


def test_the_default_directory_of_data_in_memory(blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert aigc_zoo.train("dcgan", arrays(blobs), **SHORT).path == Path("runs/dcgan-in-memory_data")


# --- what a run can do ------------------------------------------------------------------------------------------------


def test_evaluation_uses_the_data_of_the_run(done: Run, blobs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"num": 64, "metrics": "variance-ratio", "extractor": "zoo-grey28"}
    (own,) = done.evaluate(**settings)
    again = aigc_zoo.load_run(done.path)
    for data in (str(blobs), arrays(blobs), {"train": arrays(blobs)}):
        (record,) = again.evaluate(data, **settings)
        assert record["value"] == own["value"]
        assert record["protocol"]["reference_digest"] == own["protocol"]["reference_digest"]
    with pytest.raises(DataError, match="no run stores it"):
        again.evaluate(**settings)
    assert main(["eval", str(done.path), "--num", "64"]) == 65
    assert "name a dataset instead (--against, --data)" in capsys.readouterr().err
    words = ["--num", "64", "--metrics", "variance-ratio", "--extractor", "zoo-grey28"]
    assert main(["eval", str(done.path), "--against", str(blobs), *words]) == 0
    assert own["name"] in capsys.readouterr().out


def test_the_best_generator_is_evaluated(done: Run, blobs: Path) -> None:
    for metrics in ("variance-ratio, duplicates", ("variance-ratio", "duplicates")):
        records = done.evaluate(best=True, num=64, metrics=metrics, extractor="zoo-grey28", seed=3)
        assert [record["name"].rsplit("-zoo")[0] for record in records[:1]] == ["variance-ratio"]
        assert records[0]["protocol"]["seed"] == 3


def test_a_grid_is_the_one_of_the_command(done: Run, points: Run, tmp_path: Path) -> None:
    for run, words, keywords in (
        (done, ["--class", "1", "--seed", "3"], {"label": "1", "seed": 3}),
        (done, [], {}),
        (points, [], {}),
    ):
        out = tmp_path / f"{len(words)}.png"
        assert main(["sample", str(run.path), "-n", "10", *words, "--out", str(out)]) == 0
        with Image.open(out) as image:
            assert np.array_equal(np.asarray(image), np.asarray(run.grid(10, **keywords)))
    assert done.grid().size == done.grid(64).size


def test_reports_are_those_of_the_command(done: Run, tmp_path: Path) -> None:
    assert done.report() == done.path / "report.html"
    assert "in-memory data" in done.report(tmp_path / "new" / "r.md", format="md", title="A title").read_text()
    assert "A title" in (tmp_path / "new" / "r.md").read_text()


@pytest.mark.slow
def test_exports_are_those_of_the_command(done: Run, tmp_path: Path) -> None:
    names = ["generator.safetensors", "generator.pt2", "published.json"]
    assert [path.name for path in done.export(tmp_path / "out", licence="CC0-1.0")] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert "CC0-1.0" in (tmp_path / "out" / "published.json").read_text()
    assert aigc_zoo.load_run(tmp_path / "out" / names[0]).sample(3).equal(done.sample(3))


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_are_shown_as_an_image_and_are_tensors(done: Run) -> None:
    samples = done.sample(6)
    assert isinstance(samples, torch.Tensor)
    with Image.open(io.BytesIO(samples._repr_png_())) as image:  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(image), np.asarray(done.grid(6)))
    for part in (samples[:2], samples[3], samples[[0, 4]], samples[samples.mean((1, 2, 3)) > -9]):
        assert part._repr_png_()[:4] == b"\x89PNG"  # type: ignore[attr-defined]
    assert samples[:0]._repr_png_() is None  # type: ignore[attr-defined]
    assert len(done.sample(70)._repr_png_()) == len(done.sample(64)._repr_png_())  # type: ignore[arg-type]
    assert repr(samples[0, 0]) == repr(samples.plain()[0, 0])


@pytest.mark.parametrize(
    "derive",
    [
        lambda x: x * 2,
        lambda x: x.mean(),
        lambda x: x[:, 0],
        lambda x: x[0, 0],
        lambda x: torch.cat((x, x)),
        lambda x: torch.nn.functional.relu(x),
        lambda x: x.double(),
        lambda x: x.clone(),
        copy.deepcopy,
        lambda x: loaded(x),
        lambda x: next(iter(torch.utils.data.DataLoader(TensorDataset(x), batch_size=2)))[0],
    ],
)
def test_what_is_computed_from_samples_is_a_plain_tensor(done: Run, derive: Callable[[Any], Any]) -> None:
    samples = done.sample(4)
    found = derive(samples)
    assert type(found) is torch.Tensor
    assert found.equal(derive(samples.plain()))


def loaded(samples: torch.Tensor) -> torch.Tensor:
    file = io.BytesIO()
    torch.save(samples, file)
    file.seek(0)
    return torch.load(file)  # type: ignore[no-any-return]  # weights_only


def test_samples_can_be_changed_and_read_by_numpy(done: Run) -> None:
    samples = done.sample(2)
    assert np.asarray(samples).shape == (2, 1, 28, 28)
    samples[0] = 1.0
    samples += 0.5
    assert float(samples[0].min()) == 1.5
    assert [one.shape for one in samples] == [(1, 28, 28)] * 2


def test_points_are_shown_as_a_scatter_plot_and_arrays_as_a_heat_map(points: Run, tmp_path: Path) -> None:
    assert points.sample(20)[:10]._repr_png_()[:4] == b"\x89PNG"  # type: ignore[index]
    rows = {"arrays": torch.rand(40, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1}
    run = aigc_zoo.train("vanilla", rows, out=tmp_path, steps=1, batch_size=8)
    assert run.sample(3)._repr_png_()[:4] == b"\x89PNG"


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("progress", "lines"), [(None, False), (False, False), (True, True)])
def test_without_a_terminal_progress_is_shown_when_asked_for(
    capfd: pytest.CaptureFixture[str], blobs: Path, tmp_path: Path, progress: bool | None, lines: bool
) -> None:
    run = aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / "run", progress=progress, **MEASURED)
    run.evaluate(num=64, metrics="variance-ratio", extractor="zoo-grey28", progress=progress)
    out, err = capfd.readouterr()
    assert out == ""
    assert ("step 2/2, 16 images" in err) == ("zoo/dcgan on in-memory data: 200 samples" in err) == lines
    assert lines or err == ""


def test_a_terminal_shows_a_bar(blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = SimpleNamespace(text="", isatty=lambda: True, flush=lambda: None, fileno=lambda: 2, encoding="utf-8")
    terminal.write = lambda text: setattr(terminal, "text", terminal.text + text)
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / "run", **SHORT)
        shown = terminal.text
        aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / "quiet", progress=False, **SHORT)
    assert "━" in shown
    assert "2/2" in shown
    assert terminal.text == shown


class Handle:
    """What IPython returns for an output that can be updated."""

    def __init__(self, thing: Any) -> None:
        self.shown = [(repr(thing), thing._repr_html_())]

    def update(self, thing: Any) -> None:
        self.shown.append((repr(thing), thing._repr_html_()))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """A stand-in for IPython in a notebook; it returns the outputs that are updated."""
    handles: list[Handle] = []

    def display(thing: Any, *, display_id: bool) -> Handle:
        assert display_id
        handles.append(Handle(thing))
        return handles[-1]

    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    vars(ipython).update(get_ipython=lambda: SimpleNamespace(kernel=object()), display=shown)
    vars(shown).update(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    return handles


def test_a_notebook_shows_a_bar(
    notebook: list[Handle], capfd: pytest.CaptureFixture[str], blobs: Path, tmp_path: Path
) -> None:
    data = TensorDataset(*arrays(blobs))
    run = aigc_zoo.train("dcgan", data, out=tmp_path / "run", **MEASURED)
    reading, training = notebook
    assert "reading 64/200 samples" in reading.shown[1][1]
    assert reading.shown[-1] == ("", "")
    text, html = training.shown[-1]
    assert text.startswith("step 2/2")
    assert '<progress value="2" max="2">' in html
    assert "generator" in html
    out, err = capfd.readouterr()
    assert err == "", "notebooks show stderr as an error"
    assert "zoo/dcgan on in-memory data: 200 samples" in out
    run.evaluate(num=64, metrics="variance-ratio", extractor="zoo-grey28")
    assert "evaluating 64/64 samples" in "".join(html for handle in notebook[2:] for _, html in handle.shown)
    count = len(notebook)
    aigc_zoo.train("dcgan", data, out=tmp_path / "quiet", progress=False, **SHORT)
    assert len(notebook) == count


def test_texts_of_a_bar_are_escaped(notebook: list[Handle]) -> None:
    bar = bars.NotebookBar("step {done}/{total}", 3)
    bar.show(1, "<b>", "<script>", now=True)
    assert notebook[0].shown[-1][1] == (
        '<div><progress value="1" max="3"></progress> step 1/3  &lt;b&gt;</div><div>&lt;script&gt;</div>'
    )


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), SimpleNamespace(kernel=None)])
def test_a_terminal_with_ipython_is_no_notebook(notebook: list[Handle], shell: Any) -> None:
    assert bars.in_notebook()
    vars(sys.modules["IPython"]).update(get_ipython=lambda: shell)
    assert not bars.in_notebook()
    vars(sys.modules["IPython"]).pop("get_ipython")
    assert not bars.in_notebook()


def test_a_progress_object_receives_everything(blobs: Path, tmp_path: Path) -> None:
    calls: list[str] = []

    class Recording(Progress):
        def start(self, directory: Path, *_: Any) -> None:
            calls.append(f"start {directory.name}")

        def step(self, step: int, images: int, seconds: float) -> None:
            calls.append(f"step {step}")

        def close(self) -> None:
            calls.append("close")

    aigc_zoo.train("dcgan", arrays(blobs), out=tmp_path / "run", progress=Recording(), **SHORT)
    assert calls == ["start run", "step 1", "step 2", "close"]


# --- errors -----------------------------------------------------------------------------------------------------------

TRAIN: list[tuple[str, dict[str, Any]]] = [
    ("dcgna", {}),
    ("dcgan.cifra10", {}),
    ("dcgan --stpes 5", {"stpes": 5}),
    ("dcgan --frehs 1", {"frehs": 1}),
    ("dcgan --generator.widht 3", {"generator.widht": 3}),
    ("dcgan --generator.max-out 3", {"generator.max_out": 3}),
    ("dcgan --generator resnet --generator.widht 3", {"generator": "resnet", "generator.widht": 3}),
    ("dcgan --steps many", {"steps": "many"}),
    ("dcgan --steps 0", {"steps": 0}),
    ("dcgan --steps 5 --images 5", {"steps": 5, "images": 5}),
    ("dcgan --lr fast", {"lr": "fast"}),
    ("dcgan --lr -1", {"lr": -1}),
    ("dcgan --precision fp8", {"precision": "fp8"}),
    ("dcgan --device cuda:x", {"device": "cuda:x"}),
    ("dcgan --device xpu:7", {"device": "xpu:7"}),
    ("dcgan --accumulate 7", {"accumulate": 7}),
    ("dcgan --data ./nowhere", {"data": "./nowhere"}),
    ("dcgan --data mnits", {"data": "mnits"}),
    ("dcgan --data empty", {"data": "empty"}),
    ("dcgan --data text.npy", {"data": "text.npy"}),
    ("dcgan --data odd.npy", {"data": "odd.npy"}),
    ("dcgan --data grey.npy --conditional", {"data": "grey.npy", "conditional": True}),
    ("dcgan --generator nope", {"generator": "nope"}),
    ("dcgan --penalty gpp", {"penalty": "gpp"}),
    ("dcgan --penalty gp --penalty gp", {"penalty": ["gp", "gp"]}),
    ("dcgan --engine graph --device cpu", {"engine": "graph", "device": "cpu"}),
    ("dcgan --until 'kid<=1'", {"until": "kid<=1"}),
    ("dcgan --extractor none-such", {"extractor": "none-such"}),
    ("dcgan --out file", {"out": "file"}),
    ("dcgan --init missing.safetensors", {"init": "missing.safetensors"}),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are empty, damaged or of the wrong type."""
    path = tmp_path_factory.mktemp("folder")
    (path / "empty").mkdir()
    (path / "file").write_text("x")
    np.save(path / "odd.npy", np.zeros((8, 3, 33, 33), np.uint8) + 9)
    np.save(path / "grey.npy", np.zeros((8, 28, 28), np.uint8) + 9)
    np.save(path / "text.npy", np.full((4, 28, 28), "x"))
    return path


def alike(capsys: pytest.CaptureFixture[str], words: list[str], call: Callable[[], object]) -> str:
    """The message of a command and of Python, which are the same, with the same exit code."""
    code = main(words)
    lines = capsys.readouterr().err.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("zoo: "))
    command = "\n".join(lines[first:]).removeprefix("zoo: ")
    with pytest.raises(ZooError) as python:
        call()
    assert str(python.value) == command
    assert python.value.exit_code == code
    assert len(command.splitlines()) <= 3
    return command


@pytest.mark.promise("U7", 1, 1)
@pytest.mark.parametrize(("line", "keywords"), TRAIN, ids=[line for line, _ in TRAIN])
def test_errors_of_train_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    line: str,
    keywords: dict[str, Any],
    promise: Any,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    words = shlex.split(line)
    alike(capsys, ["train", *words], lambda: aigc_zoo.train(words[0], **keywords))
    assert sorted(folder.rglob("*")) == before
    promise.kept(faults=1, alike=1)


SAMPLE: list[tuple[str, Callable[[Run], object]]] = [
    ("sample RUN -n 0", lambda run: run.sample(0)),
    ("sample RUN -n -3", lambda run: run.sample(-3)),
    ("sample RUN -n many", lambda run: run.sample("many")),  # type: ignore[arg-type]
    ("sample RUN -n 1.5", lambda run: run.grid("1.5")),  # type: ignore[arg-type]
    ("sample RUN --seed x", lambda run: run.sample(seed="x")),  # type: ignore[arg-type]
    ("sample RUN --class 7", lambda run: run.sample(label=7)),
    ("sample RUN --class dog", lambda run: run.grid(label="dog")),
    ("sample RUN --data digits", lambda run: run.sample(data="digits")),
    ("sample RUN --truncation 0.5", lambda run: run.sample(truncation=0.5)),
    ("sample RUN --device cuda:7", lambda run: aigc_zoo.load_run(run.path, device="cuda:7").sample()),
    ("sample RUN --device gpu", lambda run: aigc_zoo.load_run(run.path, device="gpu").sample()),
    ("sample nowhere", lambda run: aigc_zoo.load_run("nowhere")),
    ("sample .", lambda run: aigc_zoo.load_run(".").sample()),
    ("sample dcgan@nope", lambda run: aigc_zoo.load_run("dcgan@nope")),
    ("eval RUN --num 1 --against digits", lambda run: run.evaluate("digits", num=1)),
    ("eval RUN --size 0 --against digits", lambda run: run.evaluate("digits", size=0)),
    ("eval RUN --against nowhere.zip", lambda run: run.evaluate("nowhere.zip")),
    ("eval RUN --against ring", lambda run: run.evaluate("ring")),
    ("eval RUN --against digits --split nope", lambda run: run.evaluate("digits", split="nope")),
    ("eval RUN --against digits --metrics fud", lambda run: run.evaluate("digits", metrics="fud")),
    ("eval RUN --against digits --num 9", lambda run: run.evaluate("digits", num=9)),
    ("eval RUN --against digits --extractor nope", lambda run: run.evaluate("digits", extractor="nope")),
    ("eval RUN/generator.safetensors --best", lambda run: file_of(run).evaluate(best=True)),
    ("report RUN --format pdf", lambda run: run.report(format="pdf")),
    ("report RUN --out .", lambda run: run.report(".")),
    ("report RUN/generator.safetensors", lambda run: file_of(run).report()),
    ("export RUN --to RUN/card.json", lambda run: run.export(run.path / "card.json")),
    ("export . --to x", lambda run: aigc_zoo.load_run(".").export("x")),
]


def file_of(run: Run) -> Run:
    return aigc_zoo.load_run(run.path / "generator.safetensors")


@pytest.mark.promise("U7", 1, 1)
@pytest.mark.parametrize(("line", "call"), SAMPLE, ids=[line for line, _ in SAMPLE])
def test_errors_of_a_run_are_those_of_the_commands(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    done: Run,
    line: str,
    call: Callable[[Run], object],
    promise: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    alike(capsys, shlex.split(line.replace("RUN", shlex.quote(str(done.path)))), lambda: call(done))
    assert not list(tmp_path.iterdir())
    promise.kept(faults=1, alike=1)


@pytest.mark.parametrize("label", ["0", 1, "cat"])
def test_a_class_is_refused_alike_where_there_is_none(
    capsys: pytest.CaptureFixture[str], points: Run, blobs: Path, tmp_path: Path, label: int | str
) -> None:
    """Without classes, and for a recipe that does not read the labels of its data."""
    images, _ = arrays(blobs)
    without = aigc_zoo.train("dcgan", images, out=tmp_path / "without", **SHORT)
    words = ["--class", str(label)]
    message = alike(capsys, ["sample", str(without.path), *words], lambda: without.sample(label=label))
    assert message == f"--class {label}: this generator was trained without classes"
    message = alike(capsys, ["sample", str(points.path), *words], lambda: points.grid(label=label))
    assert ("do not depend on the class" in message) == (label != "cat")
