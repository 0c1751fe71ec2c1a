"""Residual networks of WGAN-GP (Gulrajani et al., 2017, table 4) and SNGAN (Miyato et al., 2018, table 4)."""

import math
from typing import Annotated, Literal

from torch import Tensor, nn

from aigc_zoo import layers
from aigc_zoo.game import Spec
from aigc_zoo.layers import Labelled, Norm, WeightConstraint, halved, normalization
from aigc_zoo.spec import Range

NAME = "the resnet networks"


def generator(
    spec: Spec,
    latent: int,
    *,
    width: Annotated[int, Range(1, 2048)] = 256,
    norm: Norm = "batch",
    condition: Literal["concat", "norm"] = "norm",
    weights: WeightConstraint = "free",
) -> nn.Module:
    """z -> `width` channels of b x b -> k residual blocks that double the sides -> norm, ReLU, convolution, tanh.

    (N, latent) -> (N, C, H, W) in `spec.range`; linear output without a range. At 32x32 it is the network of both
    papers: b = 4, three blocks, width 256 (SNGAN; 128 in WGAN-GP). Raises ValueError for sizes it cannot generate.

    width: channels of every block.
    norm: batch as in the papers; group (8 groups) and none do not mix samples.
    condition: how labels enter a conditional generator: as scales and shifts per class after every norm, or beside z.
    weights: free, spectral norm 1, or orthogonal.
    """
    base, levels = halved(spec, NAME)
    classes = spec.classes if condition == "norm" else 0
    if classes and norm == "none":
        raise ValueError("labels that condition the norm need one: choose --generator.norm batch or group")
    beside = spec.classes - classes
    return _initialized(
        weights,
        *([layers.Concatenated()] if beside else []),
        nn.Linear(latent + beside, width * math.prod(base)),
        nn.Unflatten(1, (width, *base)),
        *(Block(width, width, norm, classes, scale=2) for _ in range(levels)),
        *normalization(norm, width, classes=classes),
        nn.ReLU(),
        nn.Conv2d(width, spec.shape[0], 3, padding=1),
        layers.InRange(spec.range),
    )


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 2048)] = 128,
    norm: Norm = "none",
    pool: Literal["sum", "mean"] = "sum",
    weights: WeightConstraint = "free",
) -> nn.Module:
    """Residual blocks that halve the sides until 8 <= side < 16, two that keep them, ReLU, pool; one logit.

    (N, C, H, W) -> (N, 1). At 32x32 it is the network of both papers: two blocks that halve, two that keep, width 128.
    Labels enter by projection. Raises ValueError for a size that the generator cannot generate.

    width: channels of every block.
    norm: none as in SNGAN; gradient penalties need none or group (8 groups), which do not mix samples.
    pool: sum over height and width as in SNGAN, or mean as in WGAN-GP.
    weights: free, spectral norm 1 as in SNGAN, or orthogonal.
    """
    _, levels = halved(spec, NAME)
    return _initialized(
        weights,
        Block(spec.shape[0], width, norm, scale=0.5, first=True),
        *(Block(width, width, norm, scale=0.5) for _ in range(levels - 2)),
        Block(width, width, norm),
        Block(width, width, norm),
        nn.ReLU(),
        layers.GlobalPool(pool),
        layers.scored(width, spec.classes),
    )


class Block(Labelled):
    """Pre-activation residual block of two 3x3 convolutions; `scale` 2, 1/2 or 1 is the factor of the sides.

    (N, before, H, W) -> (N, after, scale H, scale W). The first block of a discriminator has neither norm nor ReLU
    before it, and pools its shortcut before the 1x1 convolution instead of after it, as in both papers' code.
    """

    def __init__(self, before: int, after: int, norm: Norm, classes: int = 0, scale: float = 1, first: bool = False):
        super().__init__()
        grow = [nn.Upsample(scale_factor=2)] if scale == 2 else []
        shrink = [nn.AvgPool2d(2)] if scale == 0.5 else []
        begin = [] if first else [*normalization(norm, before, classes=classes), nn.ReLU()]
        middle = [*normalization(norm, after, classes=classes), nn.ReLU()]
        convolutions = (nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1))
        self.residual = layers.Layers(*begin, *grow, convolutions[0], *middle, convolutions[1], *shrink)
        one = [nn.Conv2d(before, after, 1)] if scale != 1 or before != after else []
        self.shortcut = layers.Layers(*grow, *(shrink + one if first else one + shrink))

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        residual: Tensor = self.residual(x, label)
        return residual + self.shortcut(x)


def _initialized(weights: WeightConstraint, *modules: nn.Module) -> nn.Module:
    """The network with Glorot-uniform weights, of gain sqrt 2 in the blocks' 3x3 convolutions, as in SNGAN's code."""
    net = layers.Layers(*modules)
    residual = {conv for block in modules if isinstance(block, Block) for conv in block.residual}
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if layer in residual else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return layers.constrained(net, weights)
