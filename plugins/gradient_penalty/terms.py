"""Gradient penalties on the discriminator D for samples (N, ...) of any shape.

D returns logits (N, ...); those of one sample (patches, say) are summed, so that grad D(x) has the shape of x.
Gradients are taken in the precision of the step; norms and means are computed in float32 or float64. The papers'
factors lambda or gamma / 2 are not included: they are the weight of the penalty. R1 and R2 differentiate the logits
that the loss has computed, without another forward pass.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from aigc_zoo.game import Batch, Noisy
from aigc_zoo.spec import Range

Discriminator = Callable[[Tensor], Tensor]
Term = Callable[[Discriminator, Batch], Tensor]


def one_centered() -> Term:
    """WGAN-GP: E (|grad D(x)| - 1)^2 at x between reals and fakes (Gulrajani et al., 2017, arXiv:1704.00028, eq. 3)."""
    return lambda discriminator, batch: (gradient_norms(discriminator, interpolates(batch)) - 1).square().mean()


def one_sided() -> Term:
    """WGAN-LP: E max(0, |grad D(x)| - 1)^2 at x between reals and fakes (Petzka et al., 2018, arXiv:1709.08894)."""
    return lambda discriminator, batch: (gradient_norms(discriminator, interpolates(batch)) - 1).relu().square().mean()


def zero_centered() -> Term:
    """0-GP: E |grad D(x)|^2 at x between reals and fakes (Thanh-Tung et al., 2019, arXiv:1902.03984)."""
    return lambda discriminator, batch: squared_norms(discriminator, interpolates(batch)).mean()


def r1() -> Term:
    """R1: E |grad D(x)|^2 at the reals x (Mescheder et al., 2018, arXiv:1801.04406, eq. 9)."""
    return lambda discriminator, batch: squared_norms(discriminator, batch["real"]).mean()


def r2() -> Term:
    """R2: E |grad D(x)|^2 at the fakes x (Mescheder et al., 2018, arXiv:1801.04406, eq. 10)."""
    return lambda discriminator, batch: squared_norms(discriminator, batch["fake"]).mean()


def r1r2() -> Term:
    """R1 + R2: E |grad D(x)|^2 at the reals plus at the fakes (Huang et al., 2024, arXiv:2501.05441, eq. 3 and 4)."""
    return lambda discriminator, batch: squared_norms(discriminator, batch["real"], batch["fake"]).sum(0).mean()


class Dragan(Noisy):
    """DRAGAN: E (|grad D(x + d)| - 1)^2 at the reals x with d ~ N(0, std^2 I) (Kodali et al., 2017, arXiv:1705.07215).

    The authors' code draws d uniformly instead, up to half the standard deviation of the batch.

    std: standard deviation of d, in units of the data; half that of a batch of images in [-1, 1] is about 0.25.
    """

    def __init__(self, *, std: Annotated[float, Range(0, 100)] = 0.25) -> None:
        super().__init__()
        self.std = std

    def draw(self, real: Tensor) -> Tensor:
        return torch.randn(real.shape)

    def forward(self, discriminator: Discriminator, batch: Batch, noise: Tensor) -> Tensor:
        x = (batch["real"] + self.std * noise).detach().requires_grad_()
        return (gradient_norms(discriminator, x) - 1).square().mean()


def interpolates(batch: Batch) -> Tensor:
    """Points (N, ...) on the lines from reals to fakes: x + u (G(z) - x), with the uniform numbers `u` of the batch."""
    u = batch["u"][(..., *(None,) * (batch["real"].ndim - 1))]
    return batch["real"].lerp(batch["fake"], u).detach().requires_grad_()


def squared_norms(discriminator: Discriminator, *inputs: Tensor) -> Tensor:
    """|grad D(x)|^2 for every sample of every input, (number of inputs, N)."""
    gradients = torch.autograd.grad(sum(discriminator(x).sum() for x in inputs), inputs, create_graph=True)
    wide = [g.flatten(1).to(torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    return torch.stack([g.square().sum(1) for g in wide])


def gradient_norms(discriminator: Discriminator, x: Tensor) -> Tensor:
    """|grad D(x)| for every sample, (N,).

    At a zero gradient the square root has no derivative; its subgradient 0 is used there, which avoids a NaN.
    """
    squares = squared_norms(discriminator, x)[0]
    zero = squares == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())
