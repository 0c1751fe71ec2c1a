"""The generator of `hello`."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.spec import Range


def tiny(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 4096)] = 32) -> nn.Module:
    """Perceptron generator: a hidden layer of rectifiers, for samples of any shape in the range of the data.

    width: units of the hidden layer.
    """
    return Tiny(spec, latent, width)


class Tiny(nn.Module):
    def __init__(self, spec: Spec, latent: int, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.Sequential(
            nn.Linear(latent + spec.classes, width), nn.ReLU(), nn.Linear(width, math.prod(spec.shape))
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x: Tensor = self.layers(z if label is None else torch.cat((z, label), 1)).unflatten(1, self.spec.shape)
        if self.spec.range is None:
            return x
        low, high = self.spec.range
        return low + (high - low) * torch.sigmoid(x)
