"""The datasets of 2-D Gaussians."""

from __future__ import annotations

import pytest
import torch

from aigc_zoo.data.resolve import load
from aigc_zoo.errors import ConfigError, DataError
from aigc_zoo.plugins import catalogue


@pytest.mark.parametrize(("name", "modes"), [("ring", 8), ("grid", 25)])
def test_points_surround_the_centers(name: str, modes: int) -> None:
    splits = load(catalogue(), name)
    assert {split: len(samples) for split, samples in splits.items()} == {"train": 50_000, "test": 10_000}
    train = splits["train"]
    assert (train.spec.shape, train.spec.range, train.spec.modality, train.spec.classes) == (
        (2,),
        (-2.0, 2.0),
        "points",
        modes,
    )
    points, labels = train.fields["real"], train.fields["label"]
    centers = torch.stack([points[labels == mode].mean(0) for mode in range(modes)])
    assert torch.equal(torch.cdist(points, centers).argmin(1), labels)
    assert abs(float((points - centers[labels]).std()) - 0.02) < 1e-3
    assert splits["test"].digest != train.digest
    assert load(catalogue(), name)["train"].digest == train.digest


def test_the_ring_is_the_unit_circle_and_the_grid_a_square() -> None:
    ring = load(catalogue(), "ring", options={"std": 0.0, "count": 8})["train"].fields["real"]
    assert torch.allclose(ring.norm(dim=1), torch.ones(8))
    grid = load(catalogue(), "grid", options={"std": "0", "side": 3, "count": 9})["train"].fields["real"]
    assert {tuple(point) for point in grid.tolist()} == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    assert load(catalogue(), "grid", options={"side": 1, "std": 0.0})["train"].fields["real"].abs().max() == 0


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="--modes 0: not in the range 1 to 1000"):
        load(catalogue(), "ring", options={"modes": 0})
    with pytest.raises(ConfigError, match="no option --count-of"):
        load(catalogue(), "ring", options={"count_of": 5})


def test_points_cannot_be_resized() -> None:
    with pytest.raises(DataError, match="--size 8: ring: points have no size: leave the option out"):
        load(catalogue(), "ring", size=8)
