"""Gradient penalties. Each looks at samples one by one and at all their numbers, whatever their rank is.

A critic D gives logits (N, ...), of which a sample's are summed. Gradients are taken in the step's precision and
reduced in float32 or better. The values are plain, without the gamma / 2 or lambda of the papers: that is the weight.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from aigc_zoo.game import Batch, Noisy
from aigc_zoo.spec import Range

Critic = Callable[[Tensor], Tensor]
Term = Callable[[Critic, Batch], Tensor]


def one_centered() -> Term:
    """E (|grad D(x)| - 1)^2, x on lines between real and fake (Gulrajani et al., 2017, eq. 3)."""
    return lambda D, batch: (slopes(D, between(batch)) - 1).square().mean()


def one_sided() -> Term:
    """E max(0, |grad D(x)| - 1)^2, x on lines between real and fake (Petzka et al., 2018, WGAN-LP)."""
    return lambda D, batch: (slopes(D, between(batch)) - 1).relu().square().mean()


def zero_centered() -> Term:
    """E |grad D(x)|^2, x on lines between real and fake (Thanh-Tung et al., 2019, 0-GP)."""
    return lambda D, batch: squares(D, between(batch)).mean()


def r1() -> Term:
    """E |grad D(x)|^2 at the reals (Mescheder et al., 2018, eq. 9), from the logits that the loss has."""
    return lambda D, batch: squares(D, batch["real"]).mean()


def r2() -> Term:
    """E |grad D(x)|^2 at the fakes (Mescheder et al., 2018, eq. 10), from the logits that the loss has."""
    return lambda D, batch: squares(D, batch["fake"]).mean()


def r1r2() -> Term:
    """The sum of r1 and r2 (Huang et al., 2024, eq. 3 and 4), from the logits that the loss has."""
    return lambda D, batch: squares(D, batch["real"], batch["fake"]).sum(0).mean()


class Dragan(Noisy):
    """E (|grad D(x + d)| - 1)^2 at the reals x, d normal (Kodali et al., 2017; in their code uniform).

    std: of d, in the units of the data; theirs, half that of the batch, is about 0.25 for images in [-1, 1].
    """

    def __init__(self, *, std: Annotated[float, Range(0, 100)] = 0.25) -> None:
        super().__init__()
        self.std = std

    def draw(self, real: Tensor) -> Tensor:
        return torch.randn(real.shape)

    def forward(self, D: Critic, batch: Batch, noise: Tensor) -> Tensor:
        x = (batch["real"] + self.std * noise).detach().requires_grad_()
        return (slopes(D, x) - 1).square().mean()


def between(batch: Batch) -> Tensor:
    """A point on the line from each real to its fake, by the batch's uniform numbers `u`."""
    u = batch["u"][(..., *(None,) * (batch["real"].ndim - 1))]
    return batch["real"].lerp(batch["fake"], u).detach().requires_grad_()


def squares(D: Critic, *inputs: Tensor) -> Tensor:
    """|grad D(x)|^2 of every sample, (number of inputs, N)."""
    gradients = torch.autograd.grad(sum(D(x).sum() for x in inputs), inputs, create_graph=True)
    wide = [g.flatten(1).to(torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    return torch.stack([g.square().sum(1) for g in wide])


def slopes(D: Critic, x: Tensor) -> Tensor:
    """|grad D(x)| of every sample, (N,). Where D is flat the root has no derivative; 0 is taken, as for a minimum."""
    square = squares(D, x)[0]
    flat = square == 0
    return torch.where(flat, 0.0, torch.where(flat, 1.0, square).sqrt())
