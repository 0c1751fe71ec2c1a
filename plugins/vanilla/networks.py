"""Multilayer perceptrons of the first GAN (Goodfellow et al., 2014, section 5), for samples of any shape."""

import math
from typing import Annotated

import torch
from torch import nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import Concatenated, FromRange, InRange, Layers, Maxout, WeightConstraint, constrained, scored
from aigc_zoo.spec import Range


def generator(spec: Spec, latent: int, *, width: Annotated[int, Range(1, 65536)] = 1200) -> nn.Module:
    """z -> two hidden ReLU layers -> sigmoid, rescaled to `spec.range`; linear output without a range.

    (N, latent) -> (N, *spec.shape). The MNIST network of goodfeli/adversarial (mnist.yaml), with PyTorch's default
    initialization instead of uniform weights in +-0.05 and output biases set from the data. Labels join z.

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
    weights: WeightConstraint = "free",
) -> nn.Module:
    """Two hidden maxout layers, each unit the maximum of `pieces` linear maps, with dropout before every layer.

    (N, *spec.shape) -> (N, 1). The MNIST network of goodfeli/adversarial (mnist.yaml), with PyTorch's default
    initialization instead of uniform weights in +-0.005. Samples are rescaled to [0, 1] as there, so a dropped pixel is
    black. Dropout draws its own noise: engines and numbers of ranks agree only without it. Labels enter by projection.

    width: units of each hidden layer.
    pieces: linear maps of a unit; with 1 the network is linear.
    dropout: probability of dropping a hidden unit during training.
    input_dropout: probability of dropping an input value during training.
    weights: free, spectral norm 1 (SNGAN), or orthogonal.
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
