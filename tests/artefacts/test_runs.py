"""Run directories: new, resumed, refused, renamed by --fresh and finished runs, checkpoints and logs."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path

import pytest
import torch

from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory, read_lines
from aigc_zoo.errors import ConfigError, DataError, StorageError

CARD = {"recipe": "zoo/x", "options": {"lr": 2e-4, "widths": (1, 2)}, "run": {"batch_size": 64, "seed": 0}, "host": "a"}


def at(step: int) -> dict[str, torch.Tensor]:
    return {"G.weight": torch.full((5,), float(step))}


def steps(run: RunDirectory) -> list[int]:
    return [step for step, _ in run.checkpoints()]


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "runs" / "x") as run:
        assert run.begin(CARD) == "new"
        yield run


# --- begin ------------------------------------------------------------------------------------------------------------


def test_new_then_unfinished_then_finished(tmp_path):
    path = tmp_path / "runs" / "x"
    with RunDirectory(path) as run:
        assert run.begin(CARD) == "new"
        assert run.read_card() == json.loads(json.dumps(CARD))
        assert run.newest_valid() is None
        assert run.finished() is None
    with RunDirectory(path) as run:
        assert run.begin({**CARD, "host": "b"}) == "unfinished"
        assert run.read_card()["host"] == "a"
        run.finish(10, 640, "steps")
    with RunDirectory(path) as run:
        assert run.begin(CARD) == "finished"
        assert run.finished() == {"step": 10, "images": 640, "reason": "steps"}


def test_a_changed_configuration_is_refused(run):
    before = run.card_path.read_bytes()
    with pytest.raises(ConfigError) as caught:
        run.begin({**CARD, "run": {"batch_size": 128, "seed": 0}})
    assert str(caught.value) == (
        f"run {run.path} was started with batch_size 64, now 128:\nuse --fresh to start anew, or another --out"
    )
    with pytest.raises(ConfigError, match="; and 1 more:") as caught:
        run.begin({"recipe": "zoo/y", "options": {"lr": 1, "widths": []}, "run": {"batch_size": 128, "seed": 0}})
    assert caught.value.exit_code == 3
    assert str(caught.value).count("\n") <= 2
    assert run.card_path.read_bytes() == before


def test_another_machine_is_refused_unless_it_is_allowed(tmp_path):
    card = {"recipe": "zoo/x", "threads": 1, "device": "cpu", "versions": {"torch": "2.14"}, "seed": 0}
    other = {**card, "threads": 2, "versions": {"torch": "2.15"}}
    with RunDirectory(tmp_path / "x") as run:
        run.begin(card)
        run.save_checkpoint(7, at(7), {})
        with pytest.raises(ConfigError, match="threads 1, now 2") as caught:
            run.begin(other)
        assert "--allow-inexact-resume" in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 3
        assert run.begin(other, inexact=True) == "unfinished"
        (since,) = run.read_card()["inexact"]
        assert since["after_step"] == 7
        assert "threads 1, now 2" in since["changed"]
        assert run.begin(other) == "unfinished", "the card now describes the other machine"
        run.save_checkpoint(9, at(9), {})
        assert run.begin(card, inexact=True) == "unfinished"
        assert [one["after_step"] for one in run.read_card()["inexact"]] == [7, 9]
        with pytest.raises(ConfigError, match="seed 0, now 1") as caught:
            run.begin({**other, "seed": 1}, inexact=True)
        assert "inexact" not in str(caught.value), "another seed is another run on every machine"


def test_fresh_renames_older_runs(tmp_path):
    path = tmp_path / "x"
    for number in range(3):
        with RunDirectory(path) as run:
            assert run.begin({"number": number}, fresh=True) == "new"
            run.save_checkpoint(1, at(number), {})
            assert sorted(found.name for found in tmp_path.iterdir()) == ["x", "x-1", "x-2"][: number + 1]
            with pytest.raises(ConfigError):  # the new directory is locked and used
                run.begin({"number": -1})
    for name, number in (("x-1", 0), ("x-2", 1), ("x", 2)):
        with RunDirectory(tmp_path / name) as run:
            assert run.begin({"number": number}) == "unfinished"
            assert run.newest_valid().tensors["G.weight"][0] == number


def test_fresh_skips_names_that_exist(tmp_path):
    (tmp_path / "x-1").symlink_to(tmp_path / "nowhere")
    for _ in range(2):
        with RunDirectory(tmp_path / "x") as run:
            assert run.begin(CARD, fresh=True) == "new"
    assert (tmp_path / "x-1").is_symlink()
    assert (tmp_path / "x-2" / "card.json").exists()


def test_fresh_in_the_working_directory(tmp_path, monkeypatch):
    """With `--out .`, the working directory itself is renamed."""
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    for number in range(2):
        with RunDirectory(".") as run:
            assert run.begin({"number": number}, fresh=True) == "new"
            os.chdir(tmp_path / "x")
    assert json.loads((tmp_path / "x" / "card.json").read_text()) == {"number": 1}
    assert json.loads((tmp_path / "x-1" / "card.json").read_text()) == {"number": 0}


def test_checkpoints_without_a_card_are_refused(run):
    run.save_checkpoint(5, at(5), {})
    run.card_path.unlink()
    with pytest.raises(ConfigError, match=r"no card\.json that describes it:\nuse --fresh"):
        run.begin(CARD)
    assert run.begin(CARD, fresh=True) == "new"
    assert run.newest_valid() is None


def test_a_damaged_card_is_reported(run):
    run.card_path.write_text('{"recipe": ')
    with pytest.raises(DataError, match=r"card\.json is damaged"):
        run.begin(CARD)


def test_reading_a_missing_run(tmp_path):
    with pytest.raises(DataError, match=r"nosuch/card\.json cannot be read: No such file or directory"):
        RunDirectory(tmp_path / "nosuch").read_card()
    assert not list(tmp_path.iterdir())


def test_a_run_that_never_began_leaves_no_directory(tmp_path):
    with RunDirectory(tmp_path / "x"):
        assert (tmp_path / "x").is_dir()
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with RunDirectory(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()


def test_a_removed_directory_can_be_released(tmp_path):
    with RunDirectory(tmp_path / "x") as run:
        (run.path / ".lock").unlink()
        run.path.rmdir()


def test_temporary_files_are_removed_at_the_start(run):
    run.release()
    names = (".card.json", "checkpoints/.000000001.safetensors", "samples/.000000001.png")
    left = [run.path / f"{name}.0123abcd.tmp" for name in names]
    for path in left:
        path.write_bytes(b"half")
    run.acquire()
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_an_unwritable_out(code, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match=f"cannot write .*x: {os.strerror(code)}: .*choose another --out") as caught:
        RunDirectory(tmp_path / "x").acquire()
    assert caught.value.exit_code == 74
    assert not list(tmp_path.iterdir())


def test_out_is_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"photo")
    with pytest.raises(StorageError, match=r"x: a file of that name exists: choose another --out"):
        RunDirectory(tmp_path / "x").acquire()
    assert (tmp_path / "x").read_bytes() == b"photo"


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_the_newest_is_the_one_with_the_highest_step(run):
    for step in (9, 10, 100, 999_999_999, 1_000_000_000):
        run.save_checkpoint(step, at(step), {"more": "x"}, keep=9)
    assert steps(run) == [9, 10, 100, 999_999_999, 1_000_000_000]
    tensors, card, skipped = run.newest_valid()
    assert torch.equal(tensors["G.weight"], at(1_000_000_000)["G.weight"])
    assert card == {"more": "x", "step": 1_000_000_000}
    assert skipped == []
    assert run.checkpoint_path(9).name == "000000009.safetensors"


@pytest.mark.promise("R10", 1, 1)
def test_damaged_checkpoints_are_skipped_and_named(run, promise):  # R10
    for step in (9, 10, 100):
        run.save_checkpoint(step, at(step), {}, keep=9)
    spoil(run.checkpoint_path(100))
    found = run.newest_valid()
    assert found.card["step"] == 10
    assert found.skipped == [f"{run.checkpoint_path(100)}: its content does not match its SHA-256"]
    run.checkpoint_path(10).write_bytes(b"")
    assert run.newest_valid().card["step"] == 9
    spoil(run.checkpoint_path(9))
    with pytest.raises(DataError, match=r"all 3 checkpoints of run .* are damaged .*:\ntrain again, with --fresh"):
        run.newest_valid()
    promise.kept(steps="9, 10, 100 damaged", found=10)


def test_a_checkpoint_without_permission_is_not_skipped(run, monkeypatch):
    """Resuming from an older checkpoint would delete the newer one, which is valid."""
    run.save_checkpoint(1, at(1), {})

    def refuse(path):
        raise StorageError(f"{path} cannot be read: Permission denied")

    monkeypatch.setattr(checkpoint, "load", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        run.newest_valid()


def test_old_checkpoints_are_deleted_after_the_new_one_is_written(run, monkeypatch):  # R9
    for step in range(1, 6):
        run.save_checkpoint(step, at(step), {})
    assert steps(run) == [4, 5]
    run.save_checkpoint(5, at(5), {})
    assert steps(run) == [4, 5]

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(StorageError):
            run.save_checkpoint(6, at(6), {}, keep=1)
    assert steps(run) == [4, 5]
    assert run.newest_valid().card["step"] == 5
    run.save_checkpoint(6, at(6), {}, keep=1)
    assert steps(run) == [6]
    with pytest.raises(ValueError, match="at least 1"):
        run.save_checkpoint(7, at(7), {}, keep=0)


@pytest.mark.promise("R9", 1, 1)
def test_the_best_checkpoint_is_kept(run, promise):  # R9
    for step in range(1, 8):
        run.save_checkpoint(step, at(step), {}, best=min(step, 3))
    assert steps(run) == [3, 6, 7]
    run.save_checkpoint(8, at(8), {}, best=8)  # the former best one is no longer kept
    assert steps(run) == [7, 8]
    run.save_checkpoint(9, at(9), {}, best=4)  # a step without a checkpoint
    assert steps(run) == [8, 9]
    promise.kept(best_kept=1)


def test_the_only_valid_checkpoint_is_never_deleted(run):  # R9
    """After a save there is a valid checkpoint, and a failed save deletes none, whichever ones are damaged."""
    rng = random.Random(0)
    for step in range(1, 60):
        for _, path in run.checkpoints():
            if rng.random() < 0.5:
                spoil(path)
        valid = [path for _, path in run.checkpoints() if is_valid(path)]
        if rng.random() < 0.3:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(os, "fsync", refuse_full)
                with pytest.raises(StorageError):
                    run.save_checkpoint(step, at(step), {}, keep=1)
            assert [path for _, path in run.checkpoints() if is_valid(path)] == valid
        else:
            run.save_checkpoint(step, at(step), {}, keep=1)
            assert run.newest_valid().card["step"] == step


def is_valid(path: Path) -> bool:
    try:
        checkpoint.load(path)
    except DataError:
        return False
    return True


def refuse_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_damaged_checkpoints_of_later_steps_are_deleted(run):
    """Otherwise they would count among the newest two, and only one of these would be valid."""
    for step in (9, 10, 100):
        run.save_checkpoint(step, at(step), {}, keep=9)
    spoil(run.checkpoint_path(100))
    assert run.newest_valid().card["step"] == 10
    run.save_checkpoint(20, at(20), {})
    assert steps(run) == [10, 20]
    assert run.newest_valid().skipped == []


@pytest.mark.promise("R6", 50, 50)
def test_a_full_disk_leaves_the_old_checkpoint(run, limited, promise):  # R6
    run.save_checkpoint(1, at(1), {})
    size = run.checkpoint_path(1).stat().st_size
    for number in range(promise.count):
        offset = number * (size - 1) // (promise.count - 1)
        with limited(offset), pytest.raises(StorageError, match=r"000000002\.safetensors.*free space"):
            run.save_checkpoint(2, at(2), {})
        assert os.listdir(run.checkpoints_path) == ["000000001.safetensors"]
        assert run.newest_valid().card["step"] == 1
    run.save_checkpoint(2, at(2), {})
    promise.kept(offsets=promise.count, old_one_loads=promise.count, temporaries=0)


# --- lines and grids --------------------------------------------------------------------------------------------------


def test_logs_are_cut_to_a_step(run):
    for step in (0, 10, 20, 30):
        run.log({"step": step, "terms": {"discriminator/loss": 0.1 * step}})
        run.metric({"step": step, "value": 1.0})
    run.cut_logs(20)
    assert [line["step"] for line in read_lines(run.log_path)] == [0, 10, 20]
    assert [line["step"] for line in read_lines(run.metrics_path)] == [0, 10, 20]
    assert read_lines(run.log_path)[1] == {"step": 10, "terms": {"discriminator/loss": 1.0}}
    run.cut_logs(-1)
    assert run.log_path.read_bytes() == run.metrics_path.read_bytes() == b""


def test_logs_are_rewritten_only_when_lines_are_removed(run):
    run.cut_logs(20)
    assert not run.log_path.exists()
    for step in (0, 10):
        run.log({"step": step})
        run.metric({"step": step})
    before = run.log_path.stat().st_ino, run.metrics_path.stat().st_ino
    run.cut_logs(10)
    assert (run.log_path.stat().st_ino, run.metrics_path.stat().st_ino) == before
    run.cut_logs(9)
    assert run.log_path.stat().st_ino != before[0]


@pytest.mark.parametrize("torn", [b'{"step": 5, "te', b"\0" * 300, b'{"step": 5}\n\xff\xfe{', b"7\n", b'{"no": 1}\n'])
def test_incomplete_lines_are_removed(torn, run):
    run.log({"step": 0})
    with run.log_path.open("ab") as file:
        file.write(torn)
    run.cut_logs(10)
    run.log({"step": 10})
    assert [line["step"] for line in read_lines(run.log_path)] == ([0, 5, 10] if b"5}" in torn else [0, 10])
    assert run.log_path.read_bytes().count(b"\n") == len(read_lines(run.log_path))


def test_a_line_without_its_newline_is_complete(run):
    run.log_path.write_bytes(b'{"step": 0}\n{"step": 5}')
    run.cut_logs(10)
    assert run.log_path.read_bytes() == b'{"step": 0}\n{"step": 5}\n'


def test_non_finite_losses_are_logged_as_null(run):
    run.log({"step": 1, "terms": {"_ratio": float("inf"), "loss": float("nan")}, "more": [1.5, float("-inf")]})
    assert run.log_path.read_text() == '{"step": 1, "terms": {"_ratio": null, "loss": null}, "more": [1.5, null]}\n'


def test_grids_are_cut_to_a_step(run):
    for step in (0, 1000, 2000):
        run.sample_path(step).write_bytes(b"")
    run.sample_path(2000, ".npy").write_bytes(b"")
    (run.samples_path / "mine.png").write_bytes(b"")
    run.cut_samples(1000)
    assert run.samples() == [run.sample_path(0), run.sample_path(1000)]
    assert run.sample_path(1000) == run.path / "samples" / "000001000.png"
    assert (run.samples_path / "mine.png").exists()
