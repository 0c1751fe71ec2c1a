"""Unfinished runs of the version before options, tensors and metrics were renamed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import aigc_zoo
from aigc_zoo.api import Run
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.errors import ConfigError
from aigc_zoo.plugins import catalogue
from aigc_zoo.report.collect import read_run
from aigc_zoo.run.generator import load_generator

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


# --- augmentations, of which a run had one or none --------------------------------------------------------------------

AUGMENTED = {**TINY, "augmentation": ["diffaugment"], "augmentation.diffaugment.color": False}


def with_one_augmentation(card: dict[str, Any]) -> dict[str, Any]:
    """A card of the version whose slot for augmentations held one: text or null, and options without its name."""
    (name,) = card["slots"]["augmentation"] or (None,)
    shorter = {
        section: {key.replace(".diffaugment.", "."): value for key, value in card[section].items()}
        for section in ("options", "set_by")
        if section in card
    }
    return {**card, **shorter, "slots": {**card["slots"], "augmentation": name}}


def unfinished(path: Path, rewrite: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Takes a finished run back to step 9 and rewrites its cards."""
    directory = RunDirectory(path)
    for late in (directory.finished_path, directory.generator_path, directory.animation_path):
        late.unlink()
    directory.checkpoint_path(12).unlink()
    tensors, card = checkpoint.load(directory.checkpoint_path(9))
    checkpoint.save(directory.checkpoint_path(9), tensors, {**card, "run": rewrite(card["run"])})
    directory.card_path.write_text(json.dumps(rewrite(directory.read_card())))


@pytest.mark.parametrize("settings", [TINY, AUGMENTED], ids=["none", "one"])
def test_a_run_with_at_most_one_augmentation_resumes_exactly(
    blobs: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    done = aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "done", **settings)
    shutil.copytree(done.path, tmp_path / "older")
    unfinished(tmp_path / "older", with_one_augmentation)
    card = RunDirectory(tmp_path / "older").read_card()
    assert card["slots"]["augmentation"] == (None if settings is TINY else "zoo/diffaugment")
    assert ("augmentation.color" in card["options"]) == (settings is AUGMENTED)
    with pytest.raises(ConfigError, match=r"was started with augmentation "):
        aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "older", **{**TINY, "augmentation": ["flip"]})
    aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "older", **settings)
    assert digests_of(tmp_path / "older") == digests_of(done.path)


def test_a_generator_with_one_augmentation_is_loaded(blobs: Path, tmp_path: Path) -> None:
    done = aigc_zoo.train("dcgan", str(blobs), out=tmp_path / "done", **AUGMENTED)
    tensors, card = checkpoint.load(RunDirectory(done.path).generator_path)
    checkpoint.save(tmp_path / "older.safetensors", tensors, with_one_augmentation(card))
    found, expected = (
        load_generator(catalogue(), path).sampler().samples(4)
        for path in (tmp_path / "older.safetensors", RunDirectory(done.path).generator_path)
    )
    assert torch.equal(found, expected)
