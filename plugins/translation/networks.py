"""U-Net and patch discriminator of pix2pix (Isola et al., 2017, section 6.1), for images of any size."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aigc_zoo import layers
from aigc_zoo.game import Spec
from aigc_zoo.spec import Range

Norm = Literal["instance", "batch", "none"]

SLOPE = 0.2
WIDEST = 8
"""Channels grow by two per level up to this multiple of the width."""


class Block(nn.Module):
    """One level of the U-Net, with all levels below it: (N, C, H, W) -> (N, C + outputs, H, W), sides even."""

    def __init__(self, down: nn.Module, below: nn.Module | None, up: nn.Module) -> None:
        super().__init__()
        self.down, self.below, self.up = down, below, up

    def forward(self, x: Tensor) -> Tensor:
        inner = self.down(x)
        if self.below is not None:
            inner = self.below(inner)
        return torch.cat((x, self.up(inner)), 1)


class UNet(nn.Module):
    """Image -> image. Sides are padded by reflection to a multiple of 2^levels, and the result is cropped."""

    def __init__(self, first: nn.Module, body: nn.Module, last: nn.Module, levels: int) -> None:
        super().__init__()
        self.first, self.body, self.last, self.unit = first, body, last, 2**levels

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x = reflected(x, -height % self.unit, -width % self.unit)
        result: Tensor = self.last(self.body(self.first(x)))
        return result[..., :height, :width]


def reflected(x: Tensor, down: int, right: int) -> Tensor:
    """Pad at the bottom and on the right by reflection, also by more than the image has."""
    while down or right:
        rows, columns = min(down, x.shape[2] - 1), min(right, x.shape[3] - 1)
        mode = "reflect" if rows + columns else "replicate"  # an image of one pixel has nothing to reflect
        rows, columns = (rows, columns) if rows + columns else (down, right)
        x = F.pad(x, (0, columns, 0, rows), mode)
        down, right = down - rows, right - columns
    return x


def unet(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    levels: Annotated[int, Range(2, 10)] | None = None,
    norm: Norm = "instance",
    up: Literal["resize", "transposed"] = "resize",
    dropout: Annotated[float, Range(0, 0.9)] = 0.5,
) -> nn.Module:
    """source (N, C, H, W) -> image (N, C', H, W) in the range of `spec`; C is that of `spec.entries["source"]`.

    4x4 convolutions of stride 2 down, LeakyReLU of slope 0.2; as many up, ReLU; weights from N(0, 0.02). The first and
    the innermost level have no norm, and convolutions before a norm have no bias, as in the authors' code. Raises
    ValueError for data without a source image.

    width: channels after the first convolution; they double per level, up to eight times as many.
    levels: convolutions of stride 2; none chooses as many as leave 4 pixels of the smaller side (the paper leaves one).
    norm: instance normalization, batch as in the paper's training (its batch size of 1 makes both equal), or none.
    up: nearest-neighbour resizing and a 3x3 convolution, which leaves no checkerboard, or transposed as in the paper.
    dropout: of the three innermost upward levels, while training only; it is the paper's only noise.
    """
    source = spec.entries.get("source")
    if source is None or len(source.shape) != 3 or len(spec.shape) != 3:
        raise ValueError("unet maps the image entry `source` to an image, and these data have no such entry")
    levels = levels or max(2, math.ceil(math.log2(min(spec.shape[1:]))) - 2)
    channels = [width * min(WIDEST, 2**level) for level in range(levels)]
    body: nn.Module | None = None
    for depth in reversed(range(1, levels)):
        outer, inner = channels[depth - 1], channels[depth]
        innermost = body is None
        down = [nn.LeakyReLU(SLOPE), nn.Conv2d(outer, inner, 4, 2, 1, bias=innermost or norm == "none")]
        upward = [nn.ReLU(), _up(inner if innermost else 2 * inner, outer, up, norm == "none"), *_norm(norm, outer)]
        if dropout and levels - 4 <= depth < levels - 1:
            upward.append(nn.Dropout(dropout))
        body = Block(nn.Sequential(*down, *([] if innermost else _norm(norm, inner))), body, nn.Sequential(*upward))
    assert body is not None
    first = nn.Conv2d(source.shape[0], width, 4, 2, 1)
    last = nn.Sequential(nn.ReLU(), _up(2 * width, spec.shape[0], up, bias=True), layers.InRange(spec.range))
    return _initialized(UNet(first, body, last, levels))


def patch(
    spec: Spec,
    *,
    width: Annotated[int, Range(1, 1024)] = 64,
    depth: Annotated[int, Range(1, 8)] = 3,
    norm: Norm = "instance",
) -> nn.Module:
    """(N, C, H, W) -> logits (N, 1, h, w): `depth` 4x4 convolutions of stride 2, then two of stride 1.

    A logit of depth 3 depends on 70x70 pixels, of depth 2 on 34x34, of depth 1 on 16x16 (section 6.1.2). LeakyReLU of
    slope 0.2, no norm after the first convolution, weights from N(0, 0.02). Raises ValueError for images that are too
    small, and for data with labels, which it does not read.

    width: channels after the first convolution; they double per level, up to eight times as many.
    depth: convolutions of stride 2.
    norm: instance normalization, batch as in the paper, or none.
    """
    if spec.classes:
        raise ValueError("a patch discriminator reads no labels: leave --conditional out, or choose another one")
    if len(spec.shape) != 3 or min(spec.shape[1:]) >> depth < 3:
        raise ValueError(
            f"a patch discriminator of depth {depth} needs images of at least {3 << depth} pixels a side, not "
            f"{'x'.join(map(str, spec.shape[1:]))}: lower --discriminator.depth"
        )
    channels = [width * min(WIDEST, 2**level) for level in range(depth + 1)]
    net: list[nn.Module] = [nn.Conv2d(spec.shape[0], width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
    for number, (before, after) in enumerate(pairwise(channels)):
        stride = 2 if number < depth - 1 else 1
        net += [nn.Conv2d(before, after, 4, stride, 1, bias=norm == "none"), *_norm(norm, after), nn.LeakyReLU(SLOPE)]
    return _initialized(layers.Layers(*net, nn.Conv2d(channels[-1], 1, 4, 1, 1)))


def _up(before: int, after: int, kind: str, bias: bool) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, 1, 1, bias=bias))


def _norm(kind: Norm, channels: int) -> list[nn.Module]:
    if kind == "none":
        return []
    return [nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)]


def _initialized(net: nn.Module) -> nn.Module:
    """The network with weights from N(0, 0.02) and scales from N(1, 0.02), as in the authors' code."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return net
