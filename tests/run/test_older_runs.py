"""Unfinished runs of the version before options, tensors and metrics were renamed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import ConfigError
from aigc_zoo.report.collect import read_run

from .conftest import TINY, digests_of

FORMER = {"ema": "average", "discriminator_lr": "critic_lr", "discriminator_turns": "critic_turns"}


def with_former_names(card: dict[str, Any]) -> dict[str, Any]:
    renamed = {
        section: {FORMER.get(key, key): value for key, value in card[section].items()}
        for section in ("options", "set_by")
    }
    return {**card, **renamed}


def make_older(path: Path) -> None:
    """Rewrites a finished run as it was at step 9, with the names of the earlier version."""
    directory = RunDirectory(path)
    for late in (directory.finished_path, directory.generator_path, directory.animation_path):
        late.unlink()
    directory.checkpoint_path(12).unlink()
    tensors, card = checkpoint.load(directory.checkpoint_path(9))
    tensors = {
        name.replace("ema/", "average/", 1) if name.startswith("ema/") else name: t for name, t in tensors.items()
    }
    checkpoint.save(directory.checkpoint_path(9), tensors, {**card, "run": with_former_names(card["run"])})
    directory.card_path.write_text(json.dumps(with_former_names(directory.read_card())))
    text = directory.metrics_path.read_text()
    assert "variance-ratio" in text
    directory.metrics_path.write_text(text.replace("variance-ratio", "spread"))
    for path in (directory.card_path, directory.checkpoint_path(9)):
        assert b"average" in path.read_bytes()
        assert b"discriminator_lr" not in path.read_bytes()


@pytest.fixture(scope="module")
def done(blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return aigc_zoo.train("dcgan", str(blobs), out=tmp_path_factory.mktemp("runs") / "done", **TINY)


def test_it_resumes_exactly(blobs: Path, done: Run, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(done.path, older)
    make_older(older)
    resumed = aigc_zoo.train("dcgan", str(blobs), out=older, **TINY)
    expected, found = digests_of(done.path), digests_of(older)
    assert expected.pop("metrics.jsonl") != found.pop("metrics.jsonl"), "its first lines keep their names on the disk"
    assert found == expected
    assert resumed.metrics == done.metrics
    assert read_run(older).flags == read_run(done.path).flags


def test_another_configuration_is_refused_with_current_names(blobs: Path, done: Run, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(done.path, older)
    make_older(older)
    with pytest.raises(ConfigError, match=r"was started with ema 0\.\d+, now 0\.5:"):
        aigc_zoo.train("dcgan", str(blobs), out=older, **{**TINY, "ema": 0.5})
