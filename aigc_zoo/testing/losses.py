"""Checks of losses."""

from __future__ import annotations

import torch
from torch import Tensor

from aigc_zoo.game import Adversarial
from aigc_zoo.testing.assertions import equal, require, require_finite
from aigc_zoo.testing.checks import check
from aigc_zoo.testing.fixtures import noise, seeded, target_of
from aigc_zoo.testing.subjects import ComponentSubject

LOGITS = ((8,), (8, 1), (8, 1, 3, 3))
"""Shapes of logits: one per sample, one per sample in a column, one per patch."""


def _loss(subject: ComponentSubject) -> Adversarial:
    loss = target_of(subject)()
    require(isinstance(loss, Adversarial), f"it returns a {type(loss).__name__}, not a game.Adversarial")
    return loss  # type: ignore[no-any-return]


def _both(loss: Adversarial, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The discriminator's and the generator's loss; the latter gets no real logits unless `needs_real`."""
    return loss.discriminator(real, fake), loss.generator(fake, real if loss.needs_real else None)


@check("L-SCALAR", needs="cpu", kinds=("loss",))
def losses_are_scalars(subject: ComponentSubject) -> None:
    """Both functions return a finite scalar with a graph, for logits of any shape (N, ...), near 0 and at +-50."""
    loss = _loss(subject)
    for shape in LOGITS:
        for scale in (1.0, 50.0):
            real, fake = (scale * noise(*shape, seed=seed).clamp(-1, 1) for seed in (1, 2))
            real.requires_grad_()
            fake.requires_grad_()
            for name, value in zip(("discriminator", "generator"), _both(loss, real, fake), strict=True):
                require(isinstance(value, Tensor) and value.ndim == 0, f"{name} returns no scalar for logits {shape}")
                require_finite(value, f"{name} of logits {shape} up to {scale:.0f}")
                require(value.requires_grad, f"{name} has no graph to the logits")
                (gradient,) = torch.autograd.grad(value, fake, retain_graph=True)
                require_finite(gradient, f"the gradient of {name} at logits up to {scale:.0f}")


@check("L-MEAN", needs="cpu", kinds=("loss",))
def losses_are_means(subject: ComponentSubject) -> None:
    """Repeating a batch does not change the losses, so that they do not depend on batch size or number of ranks."""
    loss = _loss(subject)
    real, fake = noise(8, 1, seed=1), noise(8, 1, seed=2)
    for name, one, two in zip(
        ("discriminator", "generator"),
        _both(loss, real, fake),
        _both(loss, torch.cat((real, real)), torch.cat((fake, fake))),
        strict=True,
    ):
        require(torch.allclose(one, two, rtol=1e-4, atol=1e-6), f"{name} grows with the batch: take the mean over it")


@check("L-PURE", needs="cpu", kinds=("loss",))
def losses_are_pure(subject: ComponentSubject) -> None:
    """Equal logits give equal losses whatever the seed of torch's generator, and are not modified."""
    loss = _loss(subject)
    real, fake = noise(8, 1, seed=1), noise(8, 1, seed=2)
    before = real.clone(), fake.clone()
    one, two = seeded(_both, loss, real, fake, seed=1), seeded(_both, loss, real, fake, seed=2)
    require(all(equal(a, b) for a, b in zip(one, two, strict=True)), "it draws noise: a loss is a function of logits")
    require(equal(real, before[0]) and equal(fake, before[1]), "it modifies the logits in place")


@check("L-DIRECTION", needs="cpu", kinds=("loss",))
def losses_have_the_right_sign(subject: ComponentSubject) -> None:
    """For misclassified samples the discriminator's loss falls with higher real and lower fake logits; for rejected
    fakes the generator's loss falls with higher fake logits.

    For other logits the signs may differ: least squares raises a fake at -0.5 to its target 0.
    """
    loss = _loss(subject)
    high, low = torch.full((8, 1), 0.5, requires_grad=True), torch.full((8, 1), -0.5, requires_grad=True)
    discriminator, _ = _both(loss, low, high)
    real, fake = torch.autograd.grad(discriminator, (low, high), allow_unused=True)
    require(real is not None and bool((real < 0).any()), "the discriminator gains nothing from higher real logits")
    require(fake is not None and bool((fake > 0).any()), "the discriminator gains nothing from lower fake logits")
    require(
        bool((real <= 0).all()) and bool((fake >= 0).all()),
        "the discriminator's loss falls with lower real or higher fake logits",
    )
    _, generator = _both(loss, high, low)
    (gradient,) = torch.autograd.grad(generator, low)
    require(bool((gradient < 0).all()), "the generator gains nothing from higher fake logits")
