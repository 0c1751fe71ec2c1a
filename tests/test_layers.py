"""Layers that networks of several families share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aigc_zoo.layers import ConditionalNorm, normalization


@pytest.mark.parametrize(
    ("norm", "dims", "expected"),
    [
        ("batch", 1, nn.BatchNorm1d),
        ("batch", 2, nn.BatchNorm2d),
        ("group", 1, nn.GroupNorm),
        ("group", 2, nn.GroupNorm),
    ],
)
@pytest.mark.parametrize("classes", [0, 3])
def test_normalization_builds_the_named_layer(norm: str, dims: int, expected: type[nn.Module], classes: int) -> None:
    (layer,) = normalization(norm, 12, classes=classes, dims=dims)
    if classes:
        assert type(layer) is ConditionalNorm
        assert set(dict(layer.named_parameters())) == {"scale", "shift"}
        layer = layer.norm
    assert type(layer) is expected
    assert bool(list(layer.parameters())) == (classes == 0)
    assert layer(torch.randn(4, 12, *[2, 2][: 2 * (dims - 1)])).shape[:2] == (4, 12)


def test_without_normalization_there_is_no_layer() -> None:
    assert normalization("none", 12, classes=3) == []
