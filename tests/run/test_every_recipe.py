"""Every first-party recipe stays finite for 500 steps, on synthetic and on real images."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tiny import RECIPES

from aigc_zoo import options, plugins
from aigc_zoo.options import Configuration
from aigc_zoo.run.prepare import prepare

STEPS = 500


def narrow(recipe: str, data: str) -> Configuration:
    """The preset for the data, with networks an eighth as wide as in the papers and a batch size of 16."""
    catalogue = plugins.catalogue()
    given = {"steps": STEPS, "batch_size": 16}
    for network in ("generator", "discriminator"):
        for option in options.options_of(catalogue, recipe, {}, data=data, automatic=True):
            if option.key == f"{network}.width":
                given[option.key] = 8
            if option.key == f"{network}.dense":
                given[option.key] = 32
    return options.resolve(catalogue, recipe, data=data, given=given)


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", pytest.param("mnist", marks=pytest.mark.real_data)])
@pytest.mark.parametrize("recipe", RECIPES)
def test_five_hundred_steps_stay_finite(recipe: str, data: str, request: pytest.FixtureRequest) -> None:
    if data == "mnist":
        folder: Path = request.getfixturevalue("zoo_data")
        assert (folder / "mnist").is_dir()
    trainer = prepare(plugins.catalogue(), narrow(recipe, data)).trainer()
    for _ in range(STEPS):
        terms = trainer.train_step()
        if trainer.step % 100 == 0:
            assert all(math.isfinite(float(term)) for term in terms.values()), trainer.step
    assert trainer.diverged() is None
    samples = trainer.sampler().samples(64)
    assert samples.isfinite().all()
