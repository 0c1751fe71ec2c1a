"""A recipe's arithmetic does not change unnoticed: losses over 20 steps in float64.

After a change that is meant, `python tests/families/golden.py` writes them anew; say in CHANGELOG.md why.
"""

import json

import pytest
import torch

from .golden import FOLDER, NAMES, STEPS, losses, recipe, samples


@pytest.mark.parametrize("name", [*NAMES, "gan"])
def test_losses_are_golden(name: str) -> None:
    file = "dcgan" if name == "gan" else name  # the general game's defaults are DCGAN's
    golden = json.loads((FOLDER / f"{file}.json").read_text())
    found = losses(recipe(name), samples())
    assert found.keys() == golden.keys()
    for term, values in golden.items():
        assert len(values) == STEPS
        for step, (ours, theirs) in enumerate(zip(found[term], values, strict=True)):
            assert ours == pytest.approx(theirs, rel=1e-9, abs=0), f"{term} at step {step}"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*NAMES, "pix2pix"}  # its own test reads it


def test_golden_losses_do_not_depend_on_the_number_of_threads() -> None:
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(losses(recipe("dcgan"), samples(), steps=5))
    finally:
        torch.set_num_threads(threads)
    for term, values in found[0].items():
        assert found[1][term] == pytest.approx(values, rel=1e-10)
