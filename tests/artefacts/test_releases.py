"""Checkpoints of earlier releases load, give the same images, and can be trained further (R12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import aigc_zoo
from aigc_zoo import options, plugins
from aigc_zoo.artefacts import checkpoint
from aigc_zoo.run.prepare import prepare

from .releases import FOLDER, LIMIT, machine, pixels

RELEASES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def test_this_release_has_a_checkpoint() -> None:
    assert aigc_zoo.__version__ in RELEASES, "run python tests/artefacts/releases.py"


@pytest.mark.promise("R12", 1, 1)
@pytest.mark.parametrize("release", RELEASES)
def test_an_old_checkpoint_gives_the_same_samples(release: str, promise: Any) -> None:
    path = FOLDER / f"{release}.safetensors"
    assert path.stat().st_size <= LIMIT
    with Image.open(FOLDER / f"{release}.png") as image:
        expected = np.asarray(image)
    found = pixels(aigc_zoo.load_run(path))
    difference = int(np.abs(found.astype(int) - expected).max())
    same = json.loads((FOLDER / f"{release}.json").read_text())["machine"] == machine()
    assert difference <= (0 if same else 1)
    assert expected.std() > 20, "an empty image would prove nothing"
    promise.kept(releases=1, loaded=1, largest_difference=difference)


@pytest.mark.parametrize("release", RELEASES)
def test_an_old_checkpoint_resumes_training(release: str, tmp_path: Path) -> None:
    tensors, card = checkpoint.load(FOLDER / f"{release}.safetensors")
    catalogue = plugins.catalogue()
    file = {key: card["run"][key] for key in ("schema", "recipe", "slots", "options", "run")}
    trainer = prepare(catalogue, options.resolve(catalogue, None, file=file)).trainer()
    trainer.load(tensors, card)
    assert trainer.step == card["step"] > 0
    assert all(bool(torch.isfinite(term).all()) for term in trainer.train_step().values())
