"""The residual pair of WGAN-GP (Gulrajani et al., 2017, table 4) and SNGAN (Miyato et al., 2018, table 4)."""

import math
from typing import Annotated, Literal

from torch import Tensor, nn

from aigc_zoo.game import Spec
from aigc_zoo.layers import (
    Concatenated,
    ConditionalNorm,
    InRange,
    Labelled,
    Layers,
    constrained,
    groups,
    halved,
    scored,
)
from aigc_zoo.spec import Range

Norm = Literal["batch", "group", "none"]
Weights = Literal["free", "spectral", "orthogonal"]
WHO = "the resnet networks"


def generator(
    spec: Spec,
    latent: int,
    *,
    width: Annotated[int, Range(1, 2048)] = 256,
    norm: Norm = "batch",
    condition: Literal["concat", "norm"] = "norm",
    weights: Weights = "free",
) -> nn.Module:
    """z -> `width` channels of b x b -> k residual blocks, each doubling the sides -> norm, ReLU, convolution, tanh.

    (N, latent) -> (N, C, H, W) in `spec.range`; linear where the data has no range. At 32x32 it is the network of both
    papers: b = 4, three blocks, width 256 (SNGAN; 128 in WGAN-GP). Raises ValueError for a size that it cannot make.

    width: channels of every block.
    norm: batch as in the papers; group (8 groups) or none keep the samples of a batch apart.
    condition: how labels come in, where the game has them: as each class's own scales after every norm, or beside z.
    weights: free, or kept at spectral norm 1, or orthogonal.
    """
    base, levels = halved(spec, WHO)
    classes = spec.classes if condition == "norm" else 0
    if classes and norm == "none":
        raise ValueError("labels that condition the norm need one: choose --generator.norm batch or group")
    beside = spec.classes - classes
    return _assembled(
        weights,
        *([Concatenated()] if beside else []),
        nn.Linear(latent + beside, width * math.prod(base)),
        nn.Unflatten(1, (width, *base)),
        *(Block(width, width, norm, classes, up=True) for _ in range(levels)),
        *_norm(norm, width, classes),
        nn.ReLU(),
        nn.Conv2d(width, spec.shape[0], 3, padding=1),
        InRange(spec.range),
    )


def discriminator(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 2048)] = 128,
    norm: Norm = "none",
    pool: Literal["sum", "mean"] = "sum",
    weights: Weights = "free",
) -> nn.Module:
    """Residual blocks that halve the sides until 8 <= side < 16, two that keep them, ReLU, pool; one logit.

    (N, C, H, W) -> (N, 1). At 32x32 it is the network of both papers: two blocks that halve, two that keep, width 128.
    Labels enter by projection. Raises ValueError for a size that the generator cannot make.

    width: channels of every block.
    norm: none as in SNGAN; gradient penalties need none or group (8 groups), which keep the samples apart.
    pool: sum over the sides as in SNGAN, or the mean as in WGAN-GP.
    weights: free, or kept at spectral norm 1 as in SNGAN, or orthogonal.
    """
    _, levels = halved(spec, WHO)
    return _assembled(
        weights,
        Block(spec.shape[0], width, norm, down=True, first=True),
        *(Block(width, width, norm, down=True) for _ in range(levels - 2)),
        Block(width, width, norm),
        Block(width, width, norm),
        nn.ReLU(),
        Pool(pool),
        scored(width, spec.classes),
    )


class Block(Labelled):
    """x + two 3x3 convolutions of x, each after norm and ReLU, with the sides doubled or halved on the way.

    (N, before, H, W) -> (N, after, H', W'). The first block of a critic has neither norm nor ReLU before it, and pools
    its shortcut before the 1x1 convolution instead of after it, as both papers' code does.
    """

    def __init__(
        self,
        before: int,
        after: int,
        norm: Norm,
        classes: int = 0,
        *,
        up: bool = False,
        down: bool = False,
        first: bool = False,
    ) -> None:
        super().__init__()
        grow = [nn.Upsample(scale_factor=2)] if up else []
        shrink = [nn.AvgPool2d(2)] if down else []
        begin = [] if first else [*_norm(norm, before, classes), nn.ReLU()]
        middle = [*_norm(norm, after, classes), nn.ReLU()]
        convolutions = (nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1))
        self.residual = Layers(*begin, *grow, convolutions[0], *middle, convolutions[1], *shrink)
        one = [nn.Conv2d(before, after, 1)] if up or down or before != after else []
        self.shortcut = Layers(*grow, *(shrink + one if first else one + shrink))

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        residual: Tensor = self.residual(x, label)
        return residual + self.shortcut(x)


class Pool(nn.Module):
    """(N, C, H, W) -> (N, C), the sum or the mean over the sides."""

    def __init__(self, pool: Literal["sum", "mean"]) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((2, 3)) if self.pool == "sum" else x.mean((2, 3))


def _norm(norm: Norm, channels: int, classes: int = 0) -> list[nn.Module]:
    """The layer that `norm` names, with scales and shifts of each class where there are any, or none."""
    if norm == "none":
        return []
    affine = not classes
    made: nn.Module = nn.GroupNorm(groups(channels), channels, affine=affine)
    if norm == "batch":
        made = nn.BatchNorm2d(channels, affine=affine)
    return [ConditionalNorm(made, channels, classes) if classes else made]


def _assembled(weights: Weights, *layers: nn.Module) -> nn.Module:
    """Glorot's uniform weights, with a gain of sqrt 2 in 3x3 convolutions of blocks, as in SNGAN's code."""
    net = Layers(*layers)
    residual = {conv for block in layers if isinstance(block, Block) for conv in block.residual}
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if layer in residual else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return constrained(net, weights)
