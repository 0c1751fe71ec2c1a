"""Training runs: the files that they write, exact resumes, kills, targets, divergence and held-out evaluations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import ConfigError, DivergedError, LockedError, UsageError
from aigc_zoo.game import Batch, Nets, Terms
from aigc_zoo.metrics.known import installed
from aigc_zoo.report.collect import read_run
from aigc_zoo.run.loop import train
from aigc_zoo.run.monitor import parse_target
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.progress import Progress
from aigc_zoo.run.signals import Stop

from .conftest import TINY, digests_of


def train_dcgan(blobs: Path, out: Path, **more: object) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=out, **{**TINY, **more})


@pytest.fixture(scope="module")
def done(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_dcgan(blobs, tmp_path_factory.mktemp("runs") / "done")


def test_a_run_writes_its_files(done: Run) -> None:
    names = {path.name for path in done.path.iterdir()}
    assert {"card.json", "log.jsonl", "metrics.jsonl", "samples", "samples.gif", "generator.safetensors"} <= names
    assert sorted(path.name for path in (done.path / "samples").iterdir()) == [
        f"{step:09d}.png" for step in (0, 4, 8, 12)
    ]
    assert [line["step"] for line in done.log] == [2, 4, 6, 8, 10, 12]
    assert done.log[-1]["images"] == 12 * 8
    assert {"discriminator/loss", "generator/loss"} <= done.log[-1]["terms"].keys()
    names = [f"{name}-zoo-grey28" for name in ("fid", "variance-ratio", "duplicates")]
    assert [(line["step"], line["name"]) for line in done.metrics] == [(s, n) for s in (0, 6, 12) for n in names]
    assert all(line["protocol"]["num"] == 192 for line in done.metrics)
    assert not list(done.path.rglob("*.tmp"))
    with Image.open(done.path / "samples.gif") as animation:
        assert animation.n_frames == 4


def test_the_same_command_on_a_finished_run_does_nothing(done: Run, blobs: Path) -> None:
    before = digests_of(done.path)
    again = train_dcgan(blobs, done.path)
    assert again.result is not None
    assert again.result.notes
    assert again.result.step == 12
    assert digests_of(done.path) == before


def test_a_changed_configuration_is_refused_with_the_difference(done: Run, blobs: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size.*8.*16") as caught:
        train_dcgan(blobs, done.path, batch_size=16)
    assert len(str(caught.value).splitlines()) <= 3


def test_fresh_sets_the_old_run_aside(blobs: Path, tmp_path: Path) -> None:
    train_dcgan(blobs, tmp_path / "run", steps=3)
    train_dcgan(blobs, tmp_path / "run", steps=4, fresh=True)
    assert RunDirectory(tmp_path / "run").finished()["step"] == 4
    assert RunDirectory(tmp_path / "run-1").finished()["step"] == 3


@pytest.mark.parametrize("cut", [1, 4, 7, 11, 14, 15])  # the last two: before and after the last evaluation
def test_a_stopped_run_resumes_to_the_same_bits(done: Run, blobs: Path, tmp_path: Path, cut: int) -> None:
    catalogue = plugins.catalogue()
    configuration = options.resolve(catalogue, "dcgan", data=str(blobs), given=TINY, origin="python")

    class After(Stop):
        def __bool__(self) -> bool:
            self.signal = signal.SIGTERM if self.asked >= cut else 0
            self.asked += 1
            return self.signal > 0

        asked = 0

    result = train(prepare(catalogue, configuration), tmp_path / "run", stop=After())
    assert result.reason == "stopped"
    assert result.step < 12 or cut > 13
    assert not (tmp_path / "run" / "generator.safetensors").exists()
    train_dcgan(blobs, tmp_path / "run")
    assert digests_of(tmp_path / "run") == digests_of(done.path)


@pytest.mark.promise("R16", 1, 1)
def test_another_number_of_threads_is_another_run(done: Run, blobs: Path, tmp_path: Path, promise: Any) -> None:
    """Another order of summation changes results: a resume is refused, or allowed and recorded in every later file."""

    class AtStep6(Stop):
        def __bool__(self) -> bool:
            self.signal = signal.SIGTERM if (tmp_path / "run/checkpoints/000000006.safetensors").exists() else 0
            return self.signal > 0

    chosen = options.resolve(plugins.catalogue(), "dcgan", data=str(blobs), given=TINY, origin="python")
    train(prepare(plugins.catalogue(), chosen), tmp_path / "run", stop=AtStep6())
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.raises(ConfigError, match=rf"threads {before}, now {before + 1}"):
            train_dcgan(blobs, tmp_path / "run")
        run = train_dcgan(blobs, tmp_path / "run", allow_inexact_resume=True)
    finally:
        torch.set_num_threads(before)
    assert run.result is not None
    assert run.result.step == 12
    for card in (
        run.card,
        RunDirectory(run.path).newest_valid().card["run"],
        checkpoint.read_card(run.path / "generator.safetensors"),
    ):
        (since,) = card["inexact"]
        assert since == {"after_step": 6, "changed": f"threads {before}, now {before + 1}"}
    assert "inexact" in read_run(run.path).flags
    promise.kept(controls=1, noticed=1)


def other_filesystem() -> Path:
    """A folder on another filesystem than that of temporary files."""
    found = [
        path for path in (Path("/dev/shm"), Path("/run/user"), Path("/tmp")) if path.is_dir() and os.access(path, 2)
    ]
    return next(path for path in found if path.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev)


@pytest.mark.promise("R14", 20, 200)
@pytest.mark.parametrize("temporary", ["same", pytest.param("other", marks=pytest.mark.slow)])
def test_kills_leave_no_trace(
    done: Run, blobs: Path, tmp_path: Path, temporary: str, promise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed by SIGKILL at random moments and restarted ends with the files of an undisturbed run.

    Also with TMPDIR on another filesystem (R2), since temporary files are written beside their targets.
    """
    if temporary == "other":
        monkeypatch.setenv("TMPDIR", str(other_filesystem()))
    script = textwrap.dedent(
        """
        import json, os, random, signal, sys, time
        import torch
        torch.set_num_threads(1)
        import aigc_zoo
        from aigc_zoo.plugins import catalogue
        from pathlib import Path
        out, data, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
        catalogue()
        from aigc_zoo import options  # everything is imported before the forks
        from aigc_zoo.run import loop
        import torch_fidelity
        saves = settings["steps"] / settings["save_every"]
        started = time.monotonic()
        aigc_zoo.train("dcgan", data, out=out + "-timed", **settings)
        between = (time.monotonic() - started) / saves

        def saved():
            return max((path.name for path in Path(out, "checkpoints").glob("*.safetensors")), default="")

        rng, kills, wanted = random.Random(0), 0, int(sys.argv[4])
        for life in range(wanted):
            child = os.fork()
            if not child:
                aigc_zoo.train("dcgan", data, out=out, **settings)
                os._exit(0)
            deadline = time.monotonic() + rng.uniform(0, 8 * between)
            found = {saved()}  # at most two checkpoints per process, so that the last one has work to do on any machine
            while time.monotonic() < deadline and len(found) < 3:
                time.sleep(0.001)
                found.add(saved())
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            kills += os.WIFSIGNALED(status)
        before = saved()
        aigc_zoo.train("dcgan", data, out=out, **settings)
        print(json.dumps({"kills": kills, "left": saved() > before}))
        """
    )
    settings = {**TINY, "steps": 6 * promise.count, "save_every": 2}
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run"), str(blobs), json.dumps(settings), str(promise.count)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=580,
    )
    assert ran.returncode == 0, ran.stderr
    counts = json.loads(ran.stdout)
    assert counts == {"kills": promise.count, "left": True}  # every kill hit a running process, with steps left
    assert digests_of(tmp_path / "run") == digests_of(tmp_path / "run-timed")
    assert not list(tmp_path.rglob("*.tmp"))
    promise.kept(kills=counts["kills"], differences=0)


def test_a_second_writer_is_refused(blobs: Path, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run"), pytest.raises(LockedError, match=str(os.getpid())):
        train_dcgan(blobs, tmp_path / "run")


def test_a_target_ends_the_run(blobs: Path, tmp_path: Path) -> None:
    run = train_dcgan(blobs, tmp_path / "run", until="fid<=1e9")
    assert run.result is not None
    assert (run.result.reason, run.result.step) == ("target", 0)
    assert (tmp_path / "run" / "generator.safetensors").exists()


@pytest.mark.parametrize("text", ["fud<3", "fid", "fid<=x", "fid=3"])
def test_a_target_that_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--until .*fid"):
        parse_target(text, ("fid-zoo-grey28",), installed())


def test_divergence_raises_an_error_and_writes_no_non_finite_file(blobs: Path, tmp_path: Path) -> None:
    catalogue = plugins.catalogue()
    given = {**TINY, "save_every": 1, "log_every": 1}
    prepared = prepare(catalogue, options.resolve(catalogue, "dcgan", data=str(blobs), given=given, origin="python"))
    players = dict(prepared.recipe.players)
    generator = players["generator"]

    def explode(nets: Nets, batch: Batch) -> Terms:
        terms = generator.loss(nets, batch)
        return {name: term / (batch["t"] < 0.5) for name, term in terms.items()}

    players["generator"] = replace(generator, loss=explode)
    with pytest.raises(DivergedError, match=r"generator is not finite at step 6(.|\n)*step 6 is intact"):
        train(replace(prepared, recipe=replace(prepared.recipe, players=players)), tmp_path / "run")
    for _, path in RunDirectory(tmp_path / "run").checkpoints():
        assert all(bool(torch.isfinite(t).all()) for t in checkpoint.load(path)[0].values() if t.is_floating_point())


def test_samples_depend_on_the_seed_alone(done: Run) -> None:
    assert torch.equal(done.sample(100, seed=3)[:10], done.sample(10, seed=3))
    assert not torch.equal(done.sample(4, seed=3), done.sample(4, seed=4))
    alone = aigc_zoo.load_run(done.path / "generator.safetensors")
    assert torch.equal(alone.sample(10, seed=3), done.sample(10, seed=3))


def test_an_unfinished_run_is_sampled_from_its_newest_checkpoint(done: Run, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    (part / "card.json").write_bytes((done.path / "card.json").read_bytes())
    (part / "checkpoints").symlink_to(done.path / "checkpoints")
    assert torch.equal(aigc_zoo.load_run(part).sample(5), done.sample(5))


def test_init_starts_from_another_runs_weights(done: Run, blobs: Path, tmp_path: Path) -> None:
    path = RunDirectory(done.path).checkpoints()[-1][1]
    run = train_dcgan(blobs, tmp_path / "run", init=str(path), steps=1, sample_every=1)
    first = Image.open(tmp_path / "run" / "samples" / "000000000.png")
    last = Image.open(done.path / "samples" / "000000012.png")
    assert first.tobytes() == last.tobytes()
    assert run.result is not None
    assert run.result.step == 1


TRACKER = """
from pathlib import Path
from aigc_zoo.spec import hookimpl

ZOO_API = 1
EVENTS = Path({events!r})

def record(*words):
    with EVENTS.open("a") as file:
        print(*words, file=file)

@hookimpl
def zoo_run_start(run):
    record("start", run.name)

@hookimpl
def zoo_log(step, scalars):
    record("log", step, *sorted(name for name in scalars if "/_" not in name))
    if step == {fails}:
        raise RuntimeError("the tracker is down")

@hookimpl
def zoo_checkpoint_saved(run, path):
    assert path.exists()
    record("saved", path.name)

@hookimpl
def zoo_run_end(run, error):
    record("end", error)
"""


def test_listeners_receive_the_events_of_a_run(blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A listener that fails is named and called no more; the other listener and the run continue."""
    files = (tmp_path / "tracker.py", tmp_path / "failing.py")
    for file, fails in zip(files, (-1, 4), strict=True):
        file.write_text(TRACKER.format(events=str(file.with_suffix(".txt")), fails=fails))
    catalogue = plugins.catalogue(files)
    settings = {**TINY, "steps": 6, "save_every": 6, "sample_every": 6}
    configuration = options.resolve(catalogue, "dcgan", data=str(blobs), given=settings, origin="python")
    train(prepare(catalogue, configuration), tmp_path / "run")
    whole, cut = (file.with_suffix(".txt").read_text().splitlines() for file in files)
    assert whole == [
        "start run",
        "log 0 duplicates-zoo-grey28 fid-zoo-grey28 variance-ratio-zoo-grey28",
        "log 2 discriminator/loss generator/loss",
        "log 4 discriminator/loss generator/loss",
        "log 6 discriminator/loss generator/loss",
        "log 6 duplicates-zoo-grey28 fid-zoo-grey28 variance-ratio-zoo-grey28",
        "saved 000000006.safetensors",
        "end None",
    ]
    assert cut == whole[:4]
    assert capsys.readouterr().err.count("the tracker is down") == 1


# --- mode collapse, and the held-out split ----------------------------------------------------------------------------


def test_points_are_evaluated_by_their_modes(tmp_path: Path) -> None:
    settings = {"generator.width": 8, "discriminator.width": 8, "steps": 12, "eval_every": 6, "batch_size": 8}
    run = aigc_zoo.train("vanilla", "ring", out=tmp_path / "run", **settings)
    names = ["modes-points", "kl-points", "variance-ratio-points", "duplicates-points"]
    assert [line["name"] for line in run.metrics if line["step"] == 12] == names
    assert run.metrics[0]["protocol"]["settings"]["of"] == 8
    assert run.metrics[0]["protocol"]["num"] == 2_500
    assert (run.path / "generator-best.safetensors").exists()
    held = json.loads((run.path / "held_out.json").read_text())
    assert next((record["which"], record["name"]) for record in held["metrics"]) == ("final", "modes-points")


def test_a_run_ends_with_a_held_out_evaluation(blobs: Path, tmp_path: Path) -> None:
    with np.load(blobs) as stored:
        images = stored["images"][..., 0]
    for split, part in (("train", images[:140]), ("test", images[:60])):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number, image in enumerate(part):
            Image.fromarray(image).save(tmp_path / "data" / split / f"{number}.png")
    messages: list[str] = []

    class Messages(Progress):
        def say(self, text: str) -> None:
            messages.append(text)

    settings = {**TINY, "metrics": "duplicates,variance-ratio", "steps": 6, "eval_num": 64}
    run = aigc_zoo.train("dcgan", str(tmp_path / "data"), out=tmp_path / "run", progress=Messages(), **settings)
    held = json.loads((run.path / "held_out.json").read_text())
    assert held["selected_by"] == "duplicates-zoo-grey28 on train"
    found = {(record["which"], record["name"]): record for record in held["metrics"]}
    assert set(found) == {
        ("final", "duplicates-zoo-grey28"), ("final", "gap-zoo-grey28"), ("best", "duplicates-zoo-grey28"),
    }  # fmt: skip
    assert found["final", "duplicates-zoo-grey28"]["protocol"]["split"] == "test"
    assert run.result is not None
    assert len(run.result.held_out) == 3
    with Image.open(run.path / "nearest.png") as image:
        assert image.width > image.height
    assert any(text.startswith("step 6: collapse") for text in messages), "after six steps all samples are alike"
