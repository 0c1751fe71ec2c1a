"""A run continues to another length or target, bit for bit where its steps do not depend on its length."""

from __future__ import annotations

import hashlib
import itertools
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.cli import main
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.report.collect import read_run
from aigc_zoo.run.generator import read_generator
from aigc_zoo.run.loop import train
from aigc_zoo.run.prepare import prepare
from aigc_zoo.run.signals import Stop

from .conftest import TINY, digests_of


def dcgan(blobs: Path, out: Path, **more: Any) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=out, **{**TINY, **more})


def stopped(blobs: Path, out: Path, step: int, **more: Any) -> None:
    """A run that a signal stops after `step` steps."""
    catalogue = plugins.catalogue()
    given = {**TINY, **more}
    configuration = options.resolve(catalogue, "dcgan", data=str(blobs), given=given, origin="python")

    class After(Stop):
        asked = itertools.count()

        def __bool__(self) -> bool:
            self.signal = self.signal or (signal.SIGTERM if next(self.asked) >= step else 0)
            return self.signal > 0

    assert train(prepare(catalogue, configuration), out, stop=After()).reason == "stopped"


def files_of(folder: Path) -> dict[str, str]:
    """Digests of all files but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def done(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run of 12 steps."""
    return dcgan(blobs, tmp_path_factory.mktemp("runs") / "done")


def equal_to(done: Run, run: Path) -> None:
    """The run has the files of `done`; its former ends have grids and evaluations of their own."""
    expected, found = digests_of(done.path), digests_of(run)
    for digests in (expected, found):
        del digests["metrics.jsonl"]
    assert expected == {name: digest for name, digest in found.items() if name in expected}
    assert all(name.endswith(".png") for name in found.keys() - expected.keys())
    metrics = read_lines(RunDirectory(run).metrics_path)
    assert all(line in metrics for line in done.metrics)
    assert RunDirectory(run).finished()["step"] == 12


# --- the same bits ----------------------------------------------------------------------------------------------------


def in_steps(blobs: Path, out: Path) -> None:
    dcgan(blobs, out, steps=6)
    dcgan(blobs, out, steps=12)


def in_images(blobs: Path, out: Path) -> None:
    dcgan(blobs, out, steps=None, images=48)
    dcgan(blobs, out, steps=None, images=96)


def twice_and_in_both(blobs: Path, out: Path) -> None:
    dcgan(blobs, out, steps=2)
    dcgan(blobs, out, steps=None, images=48)
    dcgan(blobs, out, steps=12)


def before_its_end(blobs: Path, out: Path) -> None:
    stopped(blobs, out, 6, steps=10)
    assert not RunDirectory(out).finished()
    dcgan(blobs, out)


def to_fewer(blobs: Path, out: Path) -> None:
    stopped(blobs, out, 6, steps=100)
    dcgan(blobs, out)


def beyond_its_target(blobs: Path, out: Path) -> None:
    assert dcgan(blobs, out, until="fid<=1e9").result.step == 0
    dcgan(blobs, out)


def to_another_target(blobs: Path, out: Path) -> None:
    assert dcgan(blobs, out, steps=6, until="fid<=1e-3").result.reason == "done"
    assert dcgan(blobs, out, until="fid<=1e-4").result.reason == "done"


@pytest.mark.promise("R31", 1, 1)
@pytest.mark.parametrize(
    "way", [in_steps, in_images, twice_and_in_both, before_its_end, to_fewer, beyond_its_target, to_another_target]
)
def test_a_longer_run_is_that_of_its_length(way: Any, blobs: Path, done: Run, tmp_path: Path, promise: Any) -> None:
    way(blobs, tmp_path / "run")
    equal_to(done, tmp_path / "run")
    promise.kept(continued=1, identical=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("wgan-gp", {"discriminator_turns": 2, "penalty.gp.every": 4, "lr_schedule": "constant"}),
        ("hinge", {"ema": 0.0, "accumulate": 2}),
        ("lsgan", {"augmentation": "diffaugment", "conditional": True}),
    ],
)
def test_other_games_too(recipe: str, more: dict[str, Any], blobs: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {**TINY, **more}
    for steps in (3, 7):
        aigc_zoo.train(recipe, str(blobs), out=tmp_path / "parts", **{**settings, "steps": steps})
    aigc_zoo.train(recipe, str(blobs), out=tmp_path / "whole", **{**settings, "steps": 7})
    parts, whole = (RunDirectory(tmp_path / name).newest_valid() for name in ("parts", "whole"))
    assert checkpoint.digest(parts.tensors, {}) == checkpoint.digest(whole.tensors, {})
    assert (tmp_path / "parts" / "generator.safetensors").read_bytes() == (
        tmp_path / "whole" / "generator.safetensors"
    ).read_bytes()


def test_everything_of_the_run_goes_on(blobs: Path, tmp_path: Path) -> None:
    first = dcgan(blobs, tmp_path / "run", steps=5)
    best = [line for line in first.metrics if line["step"] == 5]
    run = dcgan(blobs, tmp_path / "run", steps=11)
    assert [line["step"] for line in run.log] == [2, 4, 5, 6, 8, 10, 11]
    assert sorted({line["step"] for line in run.metrics}) == [0, 5, 6, 11]
    assert [line for line in run.metrics if line["step"] == 5] == best
    assert run.card["extended"] == [{"after_step": 5, "changed": "steps 5, now 11", "uses_t": []}]
    assert (run.card["steps"], run.card["run"]["steps"]) == (11, 11)
    with Image.open(run.path / "samples.gif") as animation:
        assert animation.n_frames == len({0, 4, 5, 8, 11})
    report = read_run(run.path)
    assert (report.state, report.images) == ("done", 88)
    assert "extended" not in report.flags
    again = dcgan(blobs, tmp_path / "run", steps=11)
    assert again.result.notes
    assert again.card["extended"] == run.card["extended"]


def test_a_target_that_is_met_ends_the_run_again(blobs: Path, tmp_path: Path) -> None:
    dcgan(blobs, tmp_path / "run", until="fid<=1e9")
    result = dcgan(blobs, tmp_path / "run", until="fid<=1e8").result
    assert (result.step, result.reason) == (0, "target")


def test_an_interrupted_continuation_samples_the_newest_checkpoint(blobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    dcgan(blobs, out, steps=6)
    stopped(blobs, out, 3)
    assert read_generator(out)[1]["step"] == RunDirectory(out).checkpoints()[-1][0] > 6
    assert not RunDirectory(out).finished()


# --- steps that depend on the length ----------------------------------------------------------------------------------

SCHEDULES: dict[str, dict[str, Any]] = {
    "lr of generator": {"lr_schedule": "linear"},
    "lr of discriminator": {"lr_schedule": "cosine", "lr_final": 0.5},
    "loss of discriminator": {"penalty": "gp", "penalty_final": 0.5, "discriminator.norm": "none"},
}


@pytest.mark.promise("R31", 1, 1)
@pytest.mark.parametrize("user", SCHEDULES)
def test_a_schedule_is_named_and_extended_only_on_request(user: str, blobs: Path, tmp_path: Path, promise: Any) -> None:
    out, settings = tmp_path / "run", SCHEDULES[user]
    dcgan(blobs, out, steps=6, **settings)
    before = files_of(out)
    with pytest.raises(ConfigError, match=rf"(?s)steps 6, now 12; .*{user}.*--extend .*t = 0\.5 after t = 1") as caught:
        dcgan(blobs, out, **settings)
    assert len(str(caught.value).splitlines()) <= 3
    assert str(caught.value).count("now 12") == 1
    assert files_of(out) == before, "a refusal changes nothing"
    run = dcgan(blobs, out, extend=True, **settings)
    assert run.result.step == 12
    (record,) = run.card["extended"]
    assert record["after_step"] == 6
    assert user in record["uses_t"]
    assert run.generator.card["extended"] == run.card["extended"]
    assert "steps 6, now 12" in read_run(out).flags["extended"]
    assert dcgan(blobs, out, **settings).result.notes, "the same command finds it finished"
    promise.kept(schedules_named=1)


def test_another_target_alone_changes_no_schedule(blobs: Path, tmp_path: Path) -> None:
    out, schedule = tmp_path / "run", SCHEDULES["lr of generator"]
    dcgan(blobs, out, until="fid<=1e9", **schedule)
    whole = dcgan(blobs, tmp_path / "whole", **schedule)
    dcgan(blobs, out, **schedule)
    equal_to(whole, out)


def test_a_checkpoint_that_does_not_record_it_needs_the_flag(blobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    dcgan(blobs, out, steps=6)
    for _, path in RunDirectory(out).checkpoints():
        tensors, card = checkpoint.load(path)
        del card["uses_t"]
        checkpoint.save(path, tensors, card)
    with pytest.raises(ConfigError, match="earlier versions did not record"):
        dcgan(blobs, out)
    assert dcgan(blobs, out, extend=True).result.step == 12


# --- refusals and accidents -------------------------------------------------------------------------------------------


def test_a_run_cannot_end_before_what_it_trained(done: Run, blobs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has trained 12 steps, and cannot end after 6:\nask for 12 steps or more"):
        dcgan(blobs, done.path, steps=6)
    stopped(blobs, tmp_path / "run", 7)
    (reached, _) = RunDirectory(tmp_path / "run").checkpoints()[-1]
    assert reached > 2
    with pytest.raises(ConfigError, match=f"has trained {reached} steps, and cannot end after 2"):
        dcgan(blobs, tmp_path / "run", steps=2)


@pytest.mark.parametrize("more", [{"seed": 3}, {"batch_size": 16}, {"log_every": 3}, {"ema": 0.5}])
def test_another_difference_is_refused_as_before(done: Run, blobs: Path, more: dict[str, Any]) -> None:
    before = files_of(done.path)
    (name, value), *_ = more.items()
    with pytest.raises(ConfigError, match=f"{name} .*, now {value}") as caught:
        dcgan(blobs, done.path, steps=20, **more)
    assert str(caught.value).count(f"{name} ") == 1, "each difference is listed once"
    assert files_of(done.path) == before


def test_without_checkpoints_a_finished_run_is_left_as_it_is(blobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    dcgan(blobs, out, steps=3)
    for _, path in RunDirectory(out).checkpoints():
        path.unlink()
    before = files_of(out)
    with pytest.raises(ConfigError, match="has no checkpoint from which to continue"):
        dcgan(blobs, out)
    assert files_of(out) == before


def test_damaged_checkpoints_leave_a_finished_run_as_it_is(blobs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    dcgan(blobs, out, steps=3)
    for _, path in RunDirectory(out).checkpoints():
        path.write_bytes(path.read_bytes()[:-9])
    before = files_of(out)
    with pytest.raises(DataError, match="damaged"):
        dcgan(blobs, out)
    assert files_of(out) == before


@pytest.mark.parametrize("moment", [1, 3])
def test_killed_between_two_files_it_ends_as_either_command_says(
    moment: int, blobs: Path, done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, unlink, count = tmp_path / "run", Path.unlink, itertools.count(1)
    short = digests_of(dcgan(blobs, out, steps=6).path)

    class KilledError(BaseException):
        pass

    def unlink_or_die(path: Path, missing_ok: bool = False) -> None:
        if path.parent == out and next(count) > moment:
            raise KilledError
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_or_die)
        with pytest.raises(KilledError):
            dcgan(blobs, out)
    assert digests_of(dcgan(blobs, out, steps=6).path) == short
    dcgan(blobs, out)
    equal_to(done, out)


def test_the_command_says_what_it_does(blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = {**TINY, "lr_schedule": "linear"}
    del small["steps"]
    flags = [word for key, value in small.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    command = ["train", "dcgan", "--data", str(blobs), "--out", str(tmp_path / "run"), *flags]
    assert main([*command, "--steps", "2"]) == 0
    capsys.readouterr()
    assert main([*command, "--steps", "4"]) == 3
    refusal = capsys.readouterr().err
    assert "use --extend to continue at t = 0.5 after t = 1" in refusal
    assert main([*command, "--steps", "4", "--extend"]) == 0
    assert "continued after step 2: steps 2, now 4" in capsys.readouterr().err
    assert main([*command, "--steps", "4"]) == 0
    assert "more --steps or --images continue it" in capsys.readouterr().out
