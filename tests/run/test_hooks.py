"""Listeners of a run: the TensorBoard plugin, a listener that fails, and the cost without listeners."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aigc_zoo import options
from aigc_zoo.discovery import Manager
from aigc_zoo.plugins import Catalogue
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.signals import Stop
from aigc_zoo.spec import HOOKS

from .conftest import TINY


def catalogue_with(*files: Path) -> Catalogue:
    manager = Manager()
    manager.load_setuptools_entrypoints()
    for file in files:
        manager.load_file(file)
    return Catalogue(manager)


def train_dcgan(catalogue: Catalogue, blobs: Path, folder: Path, stop: Stop | None = None, **settings: Any) -> None:
    chosen = options.resolve(catalogue, "dcgan", data=str(blobs), given={**TINY, **settings}, origin="python")
    train(prepare(catalogue, chosen), folder, stop=stop)


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def test_tensorboard_shows_the_values_of_the_log(blobs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_dcgan(catalogue_with(), blobs, folder)
    shown = events(folder)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for name in lines[0]["terms"]:
        assert [(e.step, e.value) for e in shown.Scalars(name)] == [
            (line["step"], pytest.approx(line["terms"][name], rel=1e-6)) for line in lines
        ]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for name in {line["name"] for line in metrics}:
        assert [(e.step, e.value) for e in shown.Scalars(name)] == [
            (line["step"], pytest.approx(line["value"], rel=1e-6)) for line in metrics if line["name"] == name
        ]
    assert [image.step for image in shown.Images("samples")] == sorted(
        int(p.stem) for p in (folder / "samples").glob("*.png")
    )
    assert "card/text_summary" in shown.Tags()["tensors"]


class StopAt(Stop):
    """Requests a stop once a file exists."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __bool__(self) -> bool:
        self.signal = 15 if self.path.exists() else 0
        return self.signal > 0


def test_a_resumed_run_is_one_curve(blobs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_dcgan(
        catalogue_with(), blobs, folder, StopAt(folder / "checkpoints" / "000000006.safetensors"), eval_every=12
    )
    train_dcgan(catalogue_with(), blobs, folder, eval_every=12)
    shown = events(folder)
    # Event files of one process and second are read in the order of their names, 10 before 9.
    steps = sorted(event.step for event in shown.Scalars("discriminator/loss"))
    assert steps == sorted(set(steps))
    assert steps[-1] == 12
    assert sorted(image.step for image in shown.Images("samples")) == [0, 4, 8, 12]


LISTENER = """
from aigc_zoo.spec import hookimpl

ZOO_API = 1
EVENTS = []


@hookimpl
def zoo_run_start(run):
    EVENTS.append(("start", run.name))


@hookimpl
def zoo_log(run, step, scalars):
    EVENTS.append(("log", step, sorted(scalars)))
    {fail}


@hookimpl
def zoo_checkpoint_saved(run, path):
    EVENTS.append(("saved", path.name, path.exists()))


@hookimpl
def zoo_run_end(run, error):
    EVENTS.append(("end", error))
"""


def recorded(catalogue: Catalogue) -> list[Any]:
    (record,) = [record for record in catalogue.records if record.namespace == "local"]
    return list(vars(record.module)["EVENTS"])


def test_a_listener_receives_the_events_in_order(blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "listener.py").write_text(LISTENER.format(fail="pass"))
    catalogue = catalogue_with(tmp_path / "listener.py")
    train_dcgan(catalogue, blobs, tmp_path / "run", eval_every=12)
    found = recorded(catalogue)
    assert found[0] == ("start", "run")
    assert found[-1] == ("end", None)
    assert [entry[1] for entry in found if entry[0] == "log" and "generator/loss" in entry[2]] == [2, 4, 6, 8, 10, 12]
    assert [entry for entry in found if entry[0] == "saved"] == [
        ("saved", f"{step:09d}.safetensors", True) for step in (3, 6, 9, 12)
    ]


def test_a_listener_that_fails_is_switched_off_and_the_run_continues(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fails.py").write_text(LISTENER.format(fail="raise OSError('the tracker is down')"))
    catalogue = catalogue_with(tmp_path / "fails.py")
    train_dcgan(catalogue, blobs, tmp_path / "run", eval_every=12)
    assert (tmp_path / "run" / "finished.json").exists()
    assert [entry[0] for entry in recorded(catalogue)].count("log") == 1
    assert recorded(catalogue)[-1][0] == "log"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "switched off" in line]
    assert line == "zoo: plugin file fails.py is switched off: zoo_log: OSError: the tracker is down"


class Fails(Progress):
    def log(self, line: Any) -> None:
        raise RuntimeError("the run fails")


def test_listeners_receive_the_error_that_ends_a_run(blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "listener.py").write_text(LISTENER.format(fail="pass"))
    catalogue = catalogue_with(tmp_path / "listener.py")
    chosen = options.resolve(catalogue, "dcgan", data=str(blobs), given={**TINY, "eval_every": 12}, origin="python")
    with pytest.raises(RuntimeError, match="the run fails"):
        train(prepare(catalogue, chosen), tmp_path / "run", progress=Fails())
    assert recorded(catalogue)[-1][0] == "end"
    assert str(recorded(catalogue)[-1][1]) == "the run fails"


def test_events_without_listeners_cost_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the TensorBoard plugin there is no listener, and an event takes well below a microsecond."""
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "tensorboard")
    silent = catalogue_with()
    assert all(silent._listeners[hook] == [] for hook in HOOKS if hook != "zoo_components")
    began = time.process_time()
    for _ in range(10_000):
        silent.listen("zoo_log", run=tmp_path, step=1, scalars={})
    assert (time.process_time() - began) / 10_000 < 5e-6
