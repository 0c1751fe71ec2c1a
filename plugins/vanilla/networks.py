"""The perceptrons of Goodfellow et al. (2014, section 5), for samples of any shape."""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import Concatenated, FromRange, InRange, Layers, constrained, scored
from aigc_zoo.spec import Range

Weights = Literal["free", "spectral", "orthogonal"]


def generator(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 65536)] = 1200) -> nn.Module:
    """z -> two hidden layers of rectifiers -> sigmoid, rescaled to `spec.range`; linear where the data has no range.

    (N, latent) -> (N, *spec.shape). The published code's MNIST network, with PyTorch's initial weights in place of
    uniform ones in +-0.05, and without its output biases set from the data. Labels stand
    beside z.

    width: units of each hidden layer.
    """
    layers: list[nn.Module] = [Concatenated()] if spec.classes else []
    layers += [
        nn.Linear(latent + spec.classes, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, math.prod(spec.shape)),
        InRange(spec.range, torch.sigmoid),
        nn.Unflatten(1, spec.shape),
    ]
    return Layers(*layers)


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 65536)] = 240,
    pieces: Annotated[int, Range(1, 64)] = 5,
    dropout: Annotated[float, Range(0, 0.95)] = 0.5,
    input_dropout: Annotated[float, Range(0, 0.95)] = 0.2,
    weights: Weights = "free",
) -> nn.Module:
    """Two hidden layers of maxout units, each the largest of `pieces` linear maps, with dropout before every layer.

    (N, *spec.shape) -> (N, 1). The published code's MNIST network, with PyTorch's initial weights in place of uniform
    ones in +-0.005. It sees samples moved from their range to [0, 1], as there: a dropped pixel is a black one. Dropout
    draws its own noise, so engines and numbers of ranks agree only without it. Labels enter by projection.

    width: units of each hidden layer.
    pieces: linear maps of a unit; 1 makes the network linear.
    dropout: share of hidden units that is dropped while training.
    input_dropout: share of the sample's numbers that is dropped while training.
    weights: free, or kept at spectral norm 1 (SNGAN), or orthogonal.
    """
    net = Layers(
        nn.Flatten(),
        FromRange(spec.range),
        nn.Dropout(input_dropout),
        Maxout(math.prod(spec.shape), width, pieces),
        nn.Dropout(dropout),
        Maxout(width, width, pieces),
        nn.Dropout(dropout),
        scored(width, spec.classes),
    )
    return constrained(net, weights)


class Maxout(nn.Module):
    """The largest of `pieces` linear maps, unit by unit (Goodfellow et al., 2013): (N, inputs) -> (N, units)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.maps = nn.Linear(inputs, units * pieces)
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).unflatten(1, (-1, self.units)).amax(1)
